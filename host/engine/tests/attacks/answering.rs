//! Attacks by what a module hands back: addresses, lengths and discriminants, names, texts, and a schema of settings.

use engine::built_in_questions;
use serde_json::{Value, json};

use crate::arena::{attack, attack_with, engine, three, turn};
use crate::guest::Guest;

/// Answers with what is written to address 1024.
fn answer(parts: &[(u32, i64)]) -> Vec<u8> {
    let stores: String =
        parts.iter().map(|(at, value)| format!("(i32.store (i32.const {at}) (i32.const {}))", *value as i32)).collect();
    let guest = Guest::behaves_until_asked_for_real(&format!(
        "(drop (call $good (local.get $question))) {stores} (i32.const 1024)"
    ));
    Guest { memory: "(memory (export \"memory\") 250)".to_owned(), ..guest }.component()
}

#[test]
fn answers_are_checked_before_anything_is_made_of_them() {
    let _turn = turn();
    let elsewhere = |address: &str| Guest::behaves_until_asked_for_real(address).component();
    let told = attack([
        ("an answer outside of its memory", elsewhere("(i32.const -16)")),
        ("an answer at an odd address", elsewhere("(i32.const 1025)")),
        ("an answer that is neither of the two", answer(&[(1024, 2)])),
        ("an answer of the wrong kind with the right bytes", answer(&[(1024, 255)])),
        ("a name outside of its memory", answer(&[(1028, -4)])),
        ("a name whose end wraps around", answer(&[(1032, -1)])),
        ("a name of 16 MB", answer(&[(1028, 0), (1032, 16_000_000)])),
        ("a name that is no text", answer(&[(2048, -1), (1028, 2048), (1032, 4)])),
        ("a name of nothing", answer(&[(1032, 0)])),
        ("a name of control characters", answer(&[(2048, 0x6d31_5b1b), (1028, 2048), (1032, 4)])),
        ("a name that turns around what follows", answer(&[(2048, 0x78ae_80e2), (1028, 2048), (1032, 4)])),
        ("a reason of a million bytes", answer(&[(1036, 2_000_000), (1040, 1_000_000)])),
        ("a reason that overlaps the answer", answer(&[(1036, 1024), (1040, 4)])),
        ("a ranking of four billion rows", answer(&[(1044, 4096), (1048, -1)])),
        ("a ranking whose size wraps around", answer(&[(1044, 4096), (1048, 0x0aaa_aaab)])),
        ("a ranking at an odd address", answer(&[(1044, 4097), (1048, 1)])),
        ("a ranking of half a million rows", answer(&[(1044, 2_000_000), (1048, 500_000)])),
        ("a ranking of ten thousand rows of nothing", answer(&[(1044, 2_000_000), (1048, 10_000)])),
        (
            "a ranking whose rows share one long text",
            answer(&[
                (1044, 8192),
                (1048, 3),
                (8192, 2_000_000),
                (8196, 500_000),
                (8216, 2_000_000),
                (8220, 500_000),
                (8240, 2_000_000),
                (8244, 500_000),
            ]),
        ),
        (
            "the primary that is gone",
            Guest::behaves_until_asked_for_real(
                "(local.set $question (i32.load offset=72 (local.get $question)))
             (call $promote (i32.load (local.get $question)) (i32.load offset=4 (local.get $question)))",
            )
            .component(),
        ),
    ]);
    insta::assert_snapshot!(told);
}

/// Describes itself with these texts, and accepts settings or says these two of them.
fn says(name: &str, version: &str, summary: &str, schema: Option<&str>, settings: Option<(&str, &str)>) -> Vec<u8> {
    let mut at = 1 << 20;
    let mut data = String::new();
    let mut place = |text: &str| {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        data.push_str(&format!("(data (i32.const {at}) \"{bytes}\")"));
        let placed = format!(
            "(i32.store offset=OFFSET (i32.const 64) (i32.const {at})) (i32.store offset=LENGTH (i32.const 64) (i32.const {}))",
            text.len()
        );
        at += text.len();
        placed
    };
    let mut put = |text: &str, offset: u32| {
        place(text).replace("OFFSET", &offset.to_string()).replace("LENGTH", &(offset + 4).to_string())
    };
    let mut describe: String =
        [(name, 0), (version, 8), (summary, 16)].map(|(text, offset)| put(text, offset)).concat();
    if let Some(schema) = schema {
        describe.push_str("(i32.store8 offset=24 (i32.const 64) (i32.const 1))");
        describe.push_str(&put(schema, 28));
    }
    let validate = settings.map(|(path, message)| {
        format!("(i32.store8 (i32.const 128) (i32.const 1)) {} {} (i32.const 128)", put(path, 68), put(message, 76))
    });
    let mut guest = Guest { memory: "(memory (export \"memory\") 200)".to_owned(), ..Guest::default() }.and(&data);
    guest.describe = format!("{describe} (i32.const 64)");
    if let Some(validate) = validate {
        guest.validate = validate;
    }
    guest.component()
}

#[test]
fn what_a_module_says_of_itself_is_fit_to_be_shown_or_refused() {
    let _turn = turn();
    let escapes = "\x1b[2J\x1b[31mall is well\r\nNAME READY\u{9b}1m\u{202e}lluf\u{2028}\u{200b}x";
    let million = "x".repeat(1_000_000);
    let told = attack([
        ("a name of nothing", says("", "1", "fine", None, None)),
        ("a name that paints the terminal", says(escapes, "1", "fine", None, None)),
        ("a name of a million letters", says(&million, "1", "fine", None, None)),
        ("a name in another alphabet's look-alikes", says("mоst-advanced", "1", "fine", None, None)),
        ("the name of another policy", says("most-advanced", "1", "fine", None, None)),
        ("a version of two lines", says("attacker", "1\n2", "fine", None, None)),
        ("a summary that paints the terminal", says("attacker", "1", escapes, None, None)),
        ("a summary of a million letters", says("attacker", "1", &million, None, None)),
        (
            "complaints about settings that paint the terminal",
            says("attacker", "1", "fine", None, Some((escapes, escapes))),
        ),
        (
            "complaints about settings of half a million letters",
            says("attacker", "1", "fine", None, Some((&million[..400_000], &million[..400_000]))),
        ),
    ]);
    insta::assert_snapshot!(told);
    let module = engine().load(&says("attacker", "1", escapes, None, None)).unwrap();
    assert_eq!(module.description().summary, " [2J [31mall is well  NAME READY 1m lluf  x");
}

#[test]
fn a_schema_is_no_bomb() {
    let _turn = turn();
    let settings = json!({"a": {"b": [[1, 2, 3]]}, "list": (0..10_000).collect::<Vec<u32>>()});
    let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(100_000), "}".repeat(100_000));
    let below = format!("{}{{}}{}", r#"{"items":"#.repeat(120), "}".repeat(120));
    let long: Vec<u32> = (100_000..108_000).collect();
    let numbers: Vec<u32> = (0..400_000).map(|number| number % 10).collect();
    let names: serde_json::Map<String, Value> = (0..2_000).map(|number| (format!("n{number}"), json!({}))).collect();
    let schemas = [
        ("lists in lists without end", deep),
        ("lists in lists, as deep as JSON may be", below),
        ("a text that is no JSON", "x".repeat(900_000)),
        ("a text and no schema", json!("x".repeat(900_000)).to_string()),
        ("eight hundred thousand bytes of numbers", json!({"enum": numbers}).to_string()),
        (
            "a list of values for each of ten thousand settings",
            json!({"properties": {"list": {"items": {"enum": long}}}}).to_string(),
        ),
        (
            "two thousand names, told in one message",
            json!({"additionalProperties": false, "properties": names}).to_string(),
        ),
        ("an expression that takes for ever", json!({"properties": {"a": {"pattern": "^(a+)+$"}}}).to_string()),
        ("a reference to itself", json!({"$ref": "#", "properties": {"a": {"$ref": "#/properties/a"}}}).to_string()),
        ("bounds that are no numbers", json!({"minimum": "x", "maxItems": {}, "required": 7, "enum": 7}).to_string()),
        ("bounds beyond all numbers", r#"{"properties": {"list": {"maxItems": 1e400}}}"#.to_owned()),
        ("values that paint the terminal", json!({"enum": ["\u{1b}[31m", "\u{9b}1m\u{202e}"]}).to_string()),
        ("the same name twice", r#"{"type": "object", "type": "array"}"#.to_owned()),
    ];
    let told: String = schemas
        .iter()
        .map(|(name, schema)| {
            let bytes = says("attacker", "1", "fine", Some(schema), None);
            format!("{name}:\n    {}\n", attack_with(&engine(), name, &bytes, &settings, &[three()]))
        })
        .collect();
    insta::assert_snapshot!(told);
}

#[test]
fn settings_are_held_against_a_schema_in_a_bounded_time() {
    let _turn = turn();
    let mut values = vec![0; 32_000];
    values.push(1);
    let schema = json!({"properties": {"list": {"items": {"enum": values}}}}).to_string();
    let bytes = says("attacker", "1", "fine", Some(&schema), None);
    let settings = json!({"list": vec![1; 32_000]});
    let started = std::time::Instant::now();
    let told = attack_with(&engine(), "a thousand million comparisons", &bytes, &settings, &[three()]);
    insta::assert_snapshot!(told);
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_module_that_says_nothing_useful_in_any_situation_never_leaves_one_without_an_answer() {
    let _turn = turn();
    let questions: Vec<_> = built_in_questions()
        .into_iter()
        .map(|(_, question)| topology::decision::Question { namespace: "default".into(), ..question })
        .collect();
    let bytes = answer(&[(1024, 0), (1028, 0), (1032, 8)]);
    let told = attack_with(&engine(), "a stranger every time", &bytes, &json!({}), &questions);
    // After three failures in a row it is not asked any more, and the default decides straight away.
    assert_eq!(told.matches("the default decides").count(), 3, "{told}");
    assert_eq!(told.matches("decides: ").count() + 3, questions.len(), "{told}");
}
