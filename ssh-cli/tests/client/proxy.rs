//! The proxy that the environment names is really used, also by the agent, which has no environment.

use crate::world::{World, stderr};

#[test]
fn requests_go_through_the_proxy_of_the_asker() {
    let world = World::new();
    for words in [
        &["whoami", "-address=http://ca.invalid"][..],
        &["ssh", "-role=my-role", "-address=http://ca.invalid", "u@h"],
    ] {
        let mut command = world.signet(words);
        let output = command.env("http_proxy", &world.stub.address).output().unwrap();
        let seen = world.stub.requests();
        let (_, path, _) = seen.last().unwrap_or_else(|| panic!("{}", stderr(&output)));
        // A request to a proxy names the whole URL (RFC 9112, section 3.2.2).
        assert!(path.starts_with("http://ca.invalid/v1/"), "{path}");
    }
    let knocks = world.stub.knocks();
    let mut direct = world.signet(&["whoami", "-address=http://ca.invalid"]);
    let variables = [("http_proxy", world.stub.address.as_str()), ("NO_PROXY", ".invalid")];
    let output = direct.envs(variables).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert_eq!(world.stub.knocks(), knocks);
}
