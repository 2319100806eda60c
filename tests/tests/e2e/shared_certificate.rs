//! One certificate serves all logins of its life: the second makes no request, and two hundred at once make one.

use std::process::Stdio;

use signet_tests::person::private_keys_under;
use signet_tests::ssh::HERMETIC;
use signet_tests::workdir::login_name;

use crate::first_login::Scene;

#[test]
fn the_second_signet_ssh_makes_no_request() {
    let mut scene = Scene::new();
    scene.ssh(&["-role=my-role"], &["true"]).succeeded();
    assert_eq!(scene.authority.records("issue").len(), 1);
    // Nobody could answer a request now.
    scene.authority.kill();
    scene.ssh(&["-role=my-role"], &["true"]).succeeded();
    scene.authority.start();
    assert_eq!(scene.authority.records("issue").len(), 1);
}

#[test]
fn two_hundred_parallel_runs_make_one_request() {
    let scene = Scene::new();
    let destination = format!("{}@127.0.0.1", login_name());
    // `ssh -V` in place of a login: what is counted are certificates, and sshd would need a minute for the logins.
    let children: Vec<_> = (0..200)
        .map(|_| {
            let mut arguments = vec!["ssh", "-role=my-role", "-mount-point=ssh-client-signer", &destination];
            arguments.extend(HERMETIC);
            arguments.push("-V");
            scene
                .person
                .signet(&arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(scene.authority.records("issue").len(), 1);
}

#[test]
fn without_the_agent_every_run_gets_its_own_certificate_and_leaves_nothing_behind() {
    let scene = Scene::new();
    for _ in 0..2 {
        scene.ssh(&["-role=my-role", "-no-agent"], &["true"]).succeeded();
    }
    assert_eq!(scene.authority.records("issue").len(), 2);
    assert!(private_keys_under(scene.person.scratch()).is_empty());
}
