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
fn ssh_gets_the_words_unchanged_with_two_dashes_before_the_target() {
    let rows: &[(&[&str], &[&str])] = &[
        (
            &["u@h", "-p", "22", "id", "-un"],
            &["--", "u@h", "-p", "22", "id", "-un"],
        ),
        (&["-p22", "-tt", "h"], &["-p22", "-tt", "--", "h"]),
        (&["-p22", "--", "h", "--", "-x"], &["-p22", "--", "h", "--", "-x"]),
    ];
    for (line, want) in rows {
        assert_eq!(parse(line).unwrap().words().collect::<Vec<_>>(), *want, "{line:?}");
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
    assert!(matches!(parse(&["-x@host"]), Err(_)));
    assert!(matches!(
        parse(&["host", "-l", "-x"]),
        Err(DestinationError::Dash("user", _))
    ));
    assert!(matches!(parse(&["@host"]), Err(DestinationError::Empty("user", _))));
    assert!(matches!(parse(&["u@"]), Err(DestinationError::Empty("host", _))));
    assert_eq!(parse(&[]), Err(DestinationError::NoHost));
    assert_eq!(parse(&["host", "-p"]), Err(DestinationError::MissingValue('p')));
}
