//! The hosts of the other tests, tested themselves: what they share with a real machine must hold before anything that is
//! shown on them means something.

use std::net::UdpSocket;
use std::process::Command;

use signet_tests::binaries::system;
use signet_tests::host::Host;
use signet_tests::keys::KeyFile;
use signet_tests::network::Network;
use signet_tests::ssh::HERMETIC;
use signet_tests::tree::Tree;
use signet_tests::wait::until;
use signet_tests::workdir::Workdir;

#[test]
fn a_host_of_each_release_is_logged_in_to_over_its_own_network() {
    for tree in Tree::all() {
        let (network, folder) = (Network::new(), Workdir::new());
        let host = Host::with_sshd(&network, tree, "web-1");
        let key = KeyFile::ed25519(folder.path(), "key");
        host.write("/home/ubuntu/.ssh/authorized_keys", &key.public_line());
        let known_hosts = folder.write("known_hosts", &format!("{} {}\n", host.address(), host.host_key()));
        let ssh = |tty: bool| {
            let mut ssh = Command::new(system("ssh"));
            ssh.args(HERMETIC)
                .arg(format!("-oUserKnownHostsFile={}", known_hosts.display()));
            ssh.arg("-oIdentitiesOnly=yes").arg("-i").arg(key.path());
            ssh.arg(if tty { "-tt" } else { "-T" })
                .arg(format!("ubuntu@{}", host.address()));
            let output = ssh.arg("id -un; hostname; tty; true").output().expect("ssh starts");
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{tree}: {stderr}\n{}", host.log());
            String::from_utf8_lossy(&output.stdout).replace('\r', "")
        };
        assert_eq!(ssh(false), "ubuntu\nweb-1\nnot a tty\n");
        assert_eq!(ssh(true), "ubuntu\nweb-1\n/dev/pts/0\n");
        let line = host.log_line("Accepted publickey for ubuntu");
        assert!(line.contains(" web-1 sshd"), "{line}");
    }
}

#[test]
fn hosts_of_one_network_reach_each_other_and_nothing_else() {
    let Some(tree) = Tree::any() else { return };
    let network = Network::new();
    let (one, two) = (
        Host::with_sshd(&network, tree, "one"),
        Host::start(&network, tree, "two"),
    );
    let banner = "exec 3<>/dev/tcp/one/22; read -r line <&3; echo \"$line\"";
    let ran = two.run(&["bash", "-c", banner]).succeeded();
    assert!(ran.stdout.starts_with("SSH-2.0-OpenSSH"), "{}", ran.stdout);
    // What one host writes, the other does not see, nor does the tree.
    one.write("/etc/mark", "one");
    assert!(!two.path("/etc/mark").exists() && !tree.path().join("etc/mark").exists());
}

#[test]
fn everything_of_a_host_is_gone_with_it() {
    let Some(tree) = Tree::any() else { return };
    let network = Network::new();
    let host = Host::with_sshd(&network, tree, "short-lived");
    let inside = format!("/proc/{}/root/etc", host.process());
    assert!(std::fs::exists(&inside).unwrap());
    host.end();
    assert!(!std::fs::exists(&inside).unwrap());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("signet-host"), "{mounts}");
    let port = network.address().octets()[2];
    until("the host's network card to go", || {
        (!std::fs::exists(format!("/sys/class/net/sg{port}-2")).unwrap()).then_some(())
    });
}

#[test]
fn the_static_client_runs_on_each_release_and_finds_names() {
    for tree in Tree::all() {
        let network = Network::new();
        let host = Host::start(&network, tree, "old");
        host.install_client();
        let version = host.signet(&["--version"]).succeeded();
        assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", version.stdout);
        // Refused by the address behind the name means found; by /etc/hosts, then by DNS.
        host.write("/etc/hosts", &format!("{} ca.hosts.test\n", network.address()));
        let names = std::net::UdpSocket::bind((network.address(), 53)).expect("a name server's port");
        let answering = std::thread::spawn(move || answer_names(&names));
        host.write(
            "/etc/resolv.conf",
            &format!("nameserver {}\noptions timeout:2\n", network.address()),
        );
        for name in ["ca.hosts.test", "ca.dns.test"] {
            let mut command = host.command(&["/usr/local/bin/signet", "roles"]);
            command
                .env("SIGNET_ADDR", format!("https://{name}:1"))
                .env("SIGNET_TOKEN", "t");
            let ran = signet_tests::person::Ran::from(command.output().unwrap());
            assert!(ran.stderr.contains("refused"), "{tree}, {name}: {}", ran.stderr);
        }
        let asked = UdpSocket::bind((network.address(), 0)).unwrap();
        asked.send_to(&[], (network.address(), 53)).unwrap();
        assert!(answering.join().unwrap() > 0, "{tree} asked by DNS");
    }
}

/// Answers every question for an IPv4 address with that of the name server itself, until an empty datagram comes.
fn answer_names(socket: &UdpSocket) -> usize {
    let std::net::IpAddr::V4(address) = socket.local_addr().unwrap().ip() else {
        panic!("an IPv4 address");
    };
    let mut buffer = [0; 512];
    for answered in 0.. {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        if length == 0 {
            return answered;
        }
        let question = &buffer[12..length];
        let end = question.iter().position(|&byte| byte == 0).expect("a name") + 5;
        let wanted = u8::from(question[end - 3] == 1);
        // A response, no error, one question, and one answer if an address (A) was asked for.
        let mut answer = [
            &buffer[..2],
            &[0x81, 0x80, 0, 1, 0, wanted, 0, 0, 0, 0],
            &question[..end],
        ]
        .concat();
        if wanted == 1 {
            // A pointer to the name, type A, class IN, a minute, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(address.octets());
        }
        socket.send_to(&answer, from).unwrap();
    }
    0
}
