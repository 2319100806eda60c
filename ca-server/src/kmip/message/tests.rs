use super::{Question, Version, shown};
use crate::kmip::KmipError;
use crate::kmip::tag::{Operation, Tag};
use crate::kmip::ttlv::{Item, Value};

const QUESTION: Question = Question {
    version: Version::V1_4,
    operation: Operation::Decrypt,
    id: 7,
};

/// A good answer's parts, for a test to spoil.
struct Answer {
    tag: Tag,
    version: (i32, i32),
    count: Item,
    batch: Vec<Item>,
    more: Vec<Item>,
}

impl Answer {
    fn good() -> Self {
        Self {
            tag: Tag::RESPONSE_MESSAGE,
            version: (1, 4),
            count: Item::integer(Tag::BATCH_COUNT, 1),
            batch: vec![
                Item::word(Tag::OPERATION, 0x20),
                Item::bytes(Tag::UNIQUE_BATCH_ITEM_ID, &7_u64.to_be_bytes()),
                Item::word(Tag::RESULT_STATUS, 0),
                Item::structure(Tag::RESPONSE_PAYLOAD, vec![Item::bytes(Tag::DATA, b"plain")]),
            ],
            more: Vec::new(),
        }
    }

    fn failed(reason: u32) -> Self {
        let mut answer = Self::good();
        answer.batch = vec![
            Item::word(Tag::RESULT_STATUS, 1),
            Item::word(Tag::RESULT_REASON, reason),
            Item::text(Tag::RESULT_MESSAGE, "no,\nnever"),
        ];
        answer
    }

    fn message(self) -> Item {
        let (major, minor) = self.version;
        let header = vec![
            Version { major, minor }.item(),
            Item::new(Tag(0x42_0092), Value::DateTime(1)),
            self.count,
        ];
        let mut items = vec![
            Item::structure(Tag::RESPONSE_HEADER, header),
            Item::structure(Tag::BATCH_ITEM, self.batch),
        ];
        items.extend(self.more);
        Item::structure(self.tag, items)
    }

    /// Puts another item in the place of the one with its tag.
    fn with(mut self, item: Item) -> Self {
        self.batch.retain(|old| old.tag != item.tag);
        self.batch.push(item);
        self
    }

    fn without(mut self, tag: Tag) -> Self {
        self.batch.retain(|item| item.tag != tag);
        self
    }
}

fn ask(answer: Answer) -> Result<Vec<u8>, KmipError> {
    // Over the wire and back, as it comes.
    let bytes = answer.message().encode().unwrap();
    let mut fields = QUESTION.answer(Item::decode(&bytes).unwrap())?;
    Ok(fields.bytes(Tag::DATA)?.to_vec())
}

#[test]
fn the_answer_to_the_question_is_taken() {
    assert_eq!(ask(Answer::good()).unwrap(), b"plain");
    let unnamed = Answer::good().without(Tag::UNIQUE_BATCH_ITEM_ID);
    assert_eq!(ask(unnamed).unwrap(), b"plain", "there is one question on a connection");
    let mut older = Answer::good();
    older.version = (1, 2);
    assert_eq!(ask(older).unwrap(), b"plain");
    let extended = Answer::good().with(Item::text(Tag(0x54_0001), "an extension"));
    assert_eq!(ask(extended).unwrap(), b"plain");
}

#[test]
fn what_is_no_answer_to_the_question_is_refused() {
    let spoilt = |change: fn(&mut Answer)| {
        let mut answer = Answer::good();
        change(&mut answer);
        answer
    };
    for (name, answer) in [
        ("a request", spoilt(|answer| answer.tag = Tag::REQUEST_MESSAGE)),
        ("KMIP 2", spoilt(|answer| answer.version = (2, 0))),
        (
            "no parts",
            spoilt(|answer| answer.count = Item::integer(Tag::BATCH_COUNT, 0)),
        ),
        (
            "two parts by count",
            spoilt(|answer| answer.count = Item::integer(Tag::BATCH_COUNT, 2)),
        ),
        (
            "a count that is a word",
            spoilt(|answer| answer.count = Item::word(Tag::BATCH_COUNT, 1)),
        ),
        (
            "two parts",
            spoilt(|answer| answer.more = vec![Item::structure(Tag::BATCH_ITEM, Vec::new())]),
        ),
        (
            "another operation",
            Answer::good().with(Item::word(Tag::OPERATION, 0x1F)),
        ),
        (
            "an operation as a number",
            Answer::good().with(Item::integer(Tag::OPERATION, 0x20)),
        ),
        (
            "another question's mark",
            Answer::good().with(Item::bytes(Tag::UNIQUE_BATCH_ITEM_ID, &8_u64.to_be_bytes())),
        ),
        (
            "half a mark",
            Answer::good().with(Item::bytes(Tag::UNIQUE_BATCH_ITEM_ID, &[0, 7])),
        ),
        (
            "a mark that is a text",
            Answer::good().with(Item::text(Tag::UNIQUE_BATCH_ITEM_ID, "7")),
        ),
        ("no status", Answer::good().without(Tag::RESULT_STATUS)),
        (
            "a status as a number",
            Answer::good().with(Item::integer(Tag::RESULT_STATUS, 0)),
        ),
        (
            "a pending status",
            Answer::good().with(Item::word(Tag::RESULT_STATUS, 2)),
        ),
        (
            "an unknown status",
            Answer::good().with(Item::word(Tag::RESULT_STATUS, 99)),
        ),
        (
            "success without a payload",
            Answer::good().without(Tag::RESPONSE_PAYLOAD),
        ),
        (
            "a payload that is bytes",
            Answer::good().with(Item::bytes(Tag::RESPONSE_PAYLOAD, b"plain")),
        ),
        (
            "data as a text",
            Answer::good().with(Item::structure(
                Tag::RESPONSE_PAYLOAD,
                vec![Item::text(Tag::DATA, "plain")],
            )),
        ),
        (
            "failure without a reason",
            Answer::failed(1).without(Tag::RESULT_REASON),
        ),
        (
            "failure with a text of bytes",
            Answer::failed(1).with(Item::bytes(Tag::RESULT_MESSAGE, b"no")),
        ),
    ] {
        let refused = ask(answer);
        assert!(matches!(refused, Err(KmipError::Refused(_))), "{name}: {refused:?}");
    }
}

#[test]
fn a_failure_says_what_is_to_be_done() {
    for (reason, about) in [
        (0x01, "`key_id`"),
        (0x36, "`key_id`"),
        (0x03, "`certificate`"),
        (0x0C, "Active"),
        (0x39, "Active"),
        (0x0D, "recover"),
        (0x17, "read out"),
        (0x1234, "0x1234"),
    ] {
        let Err(KmipError::Refused(text)) = ask(Answer::failed(reason)) else {
            panic!("{reason:#x}")
        };
        assert!(
            text.contains(about) && text.contains("\"no, never\""),
            "{reason:#x}: {text}"
        );
    }
    for reason in [0x04, 0x05, 0x07, 0x08, 0x24] {
        assert!(
            matches!(ask(Answer::failed(reason)), Err(KmipError::Unsupported(_))),
            "{reason:#x}"
        );
    }
    for reason in [0x0A, 0x100, 0x2A] {
        assert!(
            matches!(ask(Answer::failed(reason)), Err(KmipError::Failed(_))),
            "{reason:#x}"
        );
    }
}

#[test]
fn a_servers_text_is_one_line_and_not_endless() {
    assert_eq!(shown("a\r\n\u{1b}[31mb \n"), "a   [31mb");
    assert_eq!(shown(&"x".repeat(10_000)).len(), 160);
}
