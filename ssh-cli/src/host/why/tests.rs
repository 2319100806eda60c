use super::lines::{Fit, from_fits, principal};

#[test]
fn lines_of_principals_fit_as_sshd_reads_them() {
    let names = ["backend".to_owned(), "on-call".to_owned()];
    let yes = || Fit::Yes("backend".to_owned());
    let rows = [
        ("backend", yes()),
        ("  backend\t", yes()),
        ("backend # the team", yes()),
        ("# backend", Fit::No),
        ("backend\r", Fit::No),
        ("backend,on-call", Fit::No),
        ("Backend", Fit::No),
        ("back*", Fit::No),
        ("from=\"10.0.0.0/8\" backend", yes()),
        (
            "from=\"192.0.2.0/24\" backend",
            Fit::Refused("`from=\"192.0.2.0/24\"` of its line does not have the address".to_owned()),
        ),
        ("command=\"uptime\" backend", yes()),
    ];
    for (line, want) in rows {
        assert_eq!(
            principal(line, &names, Some("10.1.1.1".parse().unwrap()), None),
            want,
            "{line:?}"
        );
    }
    assert_eq!(
        principal("command=\"uptime\" backend", &names, None, Some("reboot")),
        Fit::Refused("its line and the certificate force different commands".to_owned())
    );
}

#[test]
fn address_lists_know_networks_patterns_and_negation() {
    for (list, address, want) in [
        ("10.0.0.0/8", "10.1.1.1", true),
        ("192.168.*", "192.168.4.5", true),
        ("10.0.0.0/8,!10.9.0.0/16", "10.9.0.1", false),
        ("2001:db8::/32", "2001:db8::7", true),
        ("localhost", "127.0.0.1", false),
    ] {
        assert_eq!(
            from_fits(list, Some(address.parse().unwrap())),
            Some(want),
            "{list} {address}"
        );
    }
    assert_eq!(from_fits("10.0.0.0/8", None), None);
}
