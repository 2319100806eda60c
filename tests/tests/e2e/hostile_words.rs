//! What people type, or paste from a page, does not become a command: `signet ssh` refuses it before ssh runs.

use signet_tests::authority::ROOT_TOKEN;
use signet_tests::person::Person;

#[test]
fn cve_2023_51385_destinations_that_a_shell_or_ssh_would_obey_are_refused() {
    // Nobody listens there: nothing may be asked for such a destination anyway.
    let person = Person::using("http://127.0.0.1:9").with("SIGNET_TOKEN", ROOT_TOKEN);
    let mark = person.scratch().join("mark");
    let touch = format!("touch {}", mark.display());
    let destinations = [
        format!("-oProxyCommand={touch}"),
        format!("root@-oProxyCommand={touch}"),
        format!("-oProxyCommand={touch}@host"),
        format!("a;{touch}@host"),
        format!("$({touch})@host"),
        format!("`{touch}`@host"),
        format!("root@host;{touch}"),
        format!("root@host\n{touch}"),
        "a'b@host".to_owned(),
        "root@%h".to_owned(),
    ];
    for destination in destinations {
        let ran = person.run(&["ssh", "-role=my-role", &destination]);
        assert_eq!(ran.code, Some(2), "{destination:?}: {} {}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("error:"), "{destination:?}: {}", ran.stderr);
    }
    assert!(!mark.exists(), "a command ran");
}
