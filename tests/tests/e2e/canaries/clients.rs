//! The client and its agent: what they hold is in their memory and, where that is asked for, in the token's file.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Signal, kill_process};
use signet_tests::canary::Canaries;
use signet_tests::person::Person;
use signet_tests::wait::until;
use signet_tests::workdir::login_name;

use super::cores::{self, CoreDumped as _};
use super::{Used, operator, used};
use crate::first_login;

/// Nothing below the person's folders but in the token's file.
fn assert_nothing_kept(person: &Person, canaries: &Canaries) {
    let is_token = |file: &Path| file.ends_with(".config/signet/token");
    let found = canaries.found_under(person.scratch(), &is_token);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_client_that_holds_a_share_shows_it_to_nobody_and_leaves_no_core() {
    let Used {
        authority,
        canaries,
        shares,
        ..
    } = used();
    let operator = operator(&authority);
    for arguments in [
        &["operator", "unseal", "-"][..],
        &["operator", "migrate", "-"],
        &["operator", "rekey", "-nonce=1", "-"],
        &["operator", "generate-root", "-nonce=1", "-"],
        &["login", "-method=token", "-"],
    ] {
        let mut child = operator
            .signet(arguments)
            .current_dir(operator.scratch())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("signet starts");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(shares[0].as_bytes()).expect("it reads");
        // It has what was written and waits for more.
        until("the share to be read", || {
            (rustix::io::ioctl_fionread(&stdin).expect("the pipe") == 0).then_some(())
        });
        let shown = canaries.found_in_listing(child.id());
        assert!(shown.is_empty(), "{arguments:?}: {shown:?}");
        cores::allow(child.id());
        child.kill_by(Signal::ABORT);
        let ended = child.wait().expect("its end");
        assert!(!ended.core_dumped_in(operator.scratch()), "{arguments:?}: {ended:?}");
    }
    assert_nothing_kept(&operator, &canaries);
}

trait KillBy {
    fn kill_by(&self, signal: Signal);
}

impl KillBy for std::process::Child {
    fn kill_by(&self, signal: Signal) {
        kill_process(rustix::process::Pid::from_child(self), signal).expect("the signal arrives");
    }
}

#[test]
fn an_agent_shows_no_token_and_leaves_no_core() {
    let scene = first_login::Scene::new();
    let mut canaries = Canaries::default();
    canaries.add("token", signet_tests::authority::ROOT_TOKEN.as_bytes());
    scene.ssh(&["-role=my-role"], &["true"]).succeeded();
    let agents = scene.person.agents();
    assert_eq!(agents.len(), 1, "the agent of {}", login_name());
    for agent in agents {
        let pid = u32::try_from(agent.as_raw_nonzero().get()).expect("a process id");
        let shown = canaries.found_in_listing(pid);
        assert!(shown.is_empty(), "{shown:?}");
        let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("its folder");
        cores::allow(pid);
        kill_process(agent, Signal::ABORT).expect("the signal arrives");
        until("the agent to end", || {
            (!Path::new(&format!("/proc/{pid}/mem")).exists()).then_some(())
        });
        let core = |name: &str| folder.join(name).exists();
        assert!(
            !core("core") && !core(&format!("core.{pid}")),
            "in {}",
            folder.display()
        );
    }
    assert_nothing_kept(&scene.person, &canaries);
}
