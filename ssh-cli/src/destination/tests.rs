use super::*;

fn parse(line: &[&str]) -> Result<Destination, DestinationError> {
    Destination::parse(&line.iter().map(OsString::from).collect::<Vec<_>>())
}

#[test]
fn user_and_host_are_read_as_ssh_reads_them() {
    let rows: &[(&[&str], Option<&str>, &str, usize)] = &[
        (&["host"], None, "host", 0),
        (&["u@host"], Some("u"), "host", 0),
        (&["a@b.example@host"], Some("a@b.example"), "host", 0),
        (&["host", "-l", "u"], Some("u"), "host", 2),
        (&["host", "-lu"], Some("u"), "host", 1),
        (&["u@host", "-l", "other"], Some("u"), "host", 2),
        (&["-l", "u", "other@host"], Some("u"), "host", 0),
        (&["-o", "User=u", "host"], Some("u"), "host", 0),
        (&["-oUser=u", "host"], Some("u"), "host", 0),
        (&["-o", "user u", "host"], Some("u"), "host", 0),
        (&["-o", "UserKnownHostsFile=/x", "host"], None, "host", 0),
        (&["host", "-p22", "id"], None, "host", 1),
        (&["host", "-p", "22", "id"], None, "host", 2),
        (&["host", "-vvA", "-tp", "22", "id", "-l", "no"], None, "host", 3),
        (&["host", "ls", "-l", "no"], None, "host", 0),
        (&["host", "--", "-l", "no"], None, "host", 1),
        (&["-4", "-L", "8080:x:80", "--", "u@host"], Some("u"), "host", 0),
        (&["ssh://u@host:2222"], Some("u"), "host", 0),
        (&["ssh://u@[::1]:2222/"], Some("u"), "::1", 0),
        (&["u@::1"], Some("u"), "::1", 0),
    ];
    for (line, user, host, options) in rows {
        let seen = parse(line).unwrap();
        assert_eq!(
            (seen.user.as_deref(), seen.host.as_str(), seen.after_options),
            (*user, *host, *options),
            "{line:?}"
        );
    }
}

#[test]
fn ssh_gets_options_then_two_dashes_then_target_and_command() {
    let rows: &[(&[&str], &[&str])] = &[
        (
            &["u@h", "-p", "22", "id", "-un"],
            &["-p", "22", "--", "u@h", "id", "-un"],
        ),
        (&["u@h", "-p22", "-tt", "--", "-x"], &["-p22", "-tt", "--", "u@h", "-x"]),
        (&["-p22", "-tt", "h"], &["-p22", "-tt", "--", "h"]),
        (&["-p22", "--", "h", "-v", "--", "-x"], &["-p22", "-v", "--", "h", "-x"]),
        (&["h"], &["--", "h"]),
        (&["u@h", "-l", "v", "id"], &["-l", "u", "-l", "v", "--", "u@h", "id"]),
        (&["-l", "v", "u@h"], &["-l", "v", "-l", "v", "--", "u@h"]),
    ];
    for (line, want) in rows {
        assert_eq!(parse(line).unwrap().words().collect::<Vec<_>>(), *want, "{line:?}");
    }
}

/// The real ssh is the judge of what the words mean.
#[test]
fn the_real_ssh_reads_user_and_port_as_we_do() {
    let rows: &[(&[&str], &str, &str)] = &[
        (&["u@127.0.0.1", "-p", "2299", "id", "-p", "1"], "u", "2299"),
        (&["u@127.0.0.1", "-l", "v", "-p2299"], "u", "2299"),
        (&["-l", "v", "-p2299", "u@127.0.0.1"], "v", "2299"),
        (&["127.0.0.1", "-oUser=v", "-oPort=2299", "--", "id"], "v", "2299"),
        (&["127.0.0.1", "-tvl", "v", "-p", "2299"], "v", "2299"),
    ];
    for (line, user, port) in rows {
        let destination = parse(line).unwrap();
        assert_eq!(destination.user.as_deref(), Some(*user), "{line:?}");
        let output = std::process::Command::new("ssh")
            .args(["-F", "/dev/null", "-G"])
            .args(destination.words())
            .output()
            .expect("install openssh-client");
        let text = String::from_utf8(output.stdout).unwrap();
        for want in [
            format!("user {user}"),
            format!("port {port}"),
            "hostname 127.0.0.1".to_owned(),
        ] {
            assert!(text.lines().any(|seen| seen == want), "{line:?} lacks {want}: {text}");
        }
    }
}

#[test]
fn names_that_a_shell_could_run_are_refused() {
    let hostile = [
        "a;id", "a|id", "a&id", "a$(id)", "a`id`", "a'b", "a\"b", "a\\b", "a<b", "a>b", "a{b", "a b", "a\nb", "a\tb",
        "%h", "a\x1bb", "a*", "bücher",
    ];
    for name in hostile {
        assert!(
            matches!(parse(&[name]), Err(DestinationError::Forbidden("host", ..))),
            "{name:?}"
        );
        let user = format!("{name}@host");
        assert!(
            matches!(parse(&[&user]), Err(DestinationError::Forbidden("user", ..))),
            "{name:?}"
        );
        assert!(
            matches!(
                parse(&["host", "-l", name]),
                Err(DestinationError::Forbidden("user", ..))
            ),
            "{name:?}"
        );
        let option = format!("-oUser={name}");
        if !name.ends_with(char::is_whitespace) {
            assert!(parse(&[&option, "host"]).is_err(), "{name:?}");
        }
        assert!(
            check_principals(&format!("ubuntu,{name}")).is_err() || name.contains('\n'),
            "{name:?}"
        );
    }
    assert!(matches!(
        parse(&["u@-oProxyCommand=id"]),
        Err(DestinationError::Dash("host", _))
    ));
    assert!(matches!(
        parse(&["--", "-oProxyCommand=id"]),
        Err(DestinationError::Dash("host", _))
    ));
    assert!(parse(&["-x@host"]).is_err());
    assert!(matches!(
        parse(&["host", "-l", "-x"]),
        Err(DestinationError::Dash("user", _))
    ));
    assert!(matches!(parse(&["@host"]), Err(DestinationError::Empty("user", _))));
    assert!(matches!(parse(&["u@"]), Err(DestinationError::Empty("host", _))));
    assert_eq!(parse(&[]), Err(DestinationError::NoHost));
    assert_eq!(parse(&["host", "-p"]), Err(DestinationError::MissingValue('p')));
}
