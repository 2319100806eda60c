//! `signet certs`: lists and exports.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::world::{World, stderr, stdout};

fn paths(world: &World) -> Vec<String> {
    world.stub.requests().into_iter().map(|(_, path, _)| path).collect()
}

#[test]
fn certificates_are_listed_page_by_page() {
    let world = World::new();
    let output = world.run(&["certs", "ls", "-person=alice a", "-type=user"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    insta::assert_snapshot!("certs_ls", stdout(&output));
    assert_eq!(
        paths(&world),
        [
            "/v1/ssh/certificates?person=alice+a&cert_type=user&limit=1000",
            "/v1/ssh/certificates?person=alice+a&cert_type=user&limit=999&before=20",
        ]
    );
    let one = world.run(&["certs", "ls", "-limit=1", "-format=json"]);
    let shown: Value = serde_json::from_str(&stdout(&one)).unwrap();
    assert_eq!(shown["certificates"].as_array().unwrap().len(), 1);
    assert!(stderr(&one).contains("there are more"), "{}", stderr(&one));
    let none = world.run(&["certs", "ls", "-person=nobody"]);
    assert_eq!(stdout(&none), "there is no such certificate\n");
}

#[test]
fn a_hosts_certificates_are_host_certificates() {
    let world = World::new();
    world.run(&["certs", "ls", "-host=web1.example.com", "-all"]);
    assert_eq!(
        paths(&world)[0],
        "/v1/ssh/certificates?principal=web1.example.com&cert_type=host&live=false&limit=1000"
    );
    for words in [
        &["certs", "ls", "-host=a", "-type=user"][..],
        &["certs", "ls", "-host=a", "-principal=b"],
        &["certs", "ls", "-type=x"],
        &["certs", "ls", "-limit=0"],
        &["certs", "export", "-format=table"],
    ] {
        assert_eq!(world.run(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn an_export_has_one_line_a_certificate_and_no_formula() {
    let world = World::new();
    let output = world.run(&["certs", "export", "-format=csv"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("\"'=cmd\""), "{text}");
    let file = world.path("out.json");
    let out = file.display().to_string();
    let output = world.run(&["certs", "export", "-out", &out]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
    let exported: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(exported["certificates"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}
