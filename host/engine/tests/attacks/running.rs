//! Attacks on processor time and memory while a module runs: in each of its functions, and in those that the canonical
//! ABI calls by itself.

use engine::{Engine, built_in_questions};
use serde_json::json;

use crate::arena::{attack, attack_with, growth, options, three, turn};
use crate::guest::{Guest, real, wrapped};

const FOR_EVER: &str = "(loop $again (br $again)) (unreachable)";

#[test]
fn loops_end_wherever_they_are() {
    let _turn = turn();
    let parts = |change: fn(&mut Guest)| {
        let mut guest = Guest::default();
        change(&mut guest);
        guest.component()
    };
    let told = attack([
        ("a loop in decide", Guest::decides(FOR_EVER).component()),
        ("a loop in describe", parts(|guest| guest.describe = FOR_EVER.to_owned())),
        ("a loop in validate-settings", parts(|guest| guest.validate = FOR_EVER.to_owned())),
        (
            "a loop in the start function",
            Guest::default().and(&format!("(func $begin {FOR_EVER}) (start $begin)")).component(),
        ),
        ("a loop in cabi_realloc", parts(|guest| guest.realloc = FOR_EVER.to_owned())),
        ("a loop after the answer", parts(|guest| guest.post = FOR_EVER.to_owned())),
        (
            "a loop of tail calls",
            Guest::decides("(return_call $spin (local.get $question))")
                .and("(func $spin (param i32) (result i32) (return_call $spin (local.get 0)))")
                .component(),
        ),
        (
            "a loop that fills all its memory each time",
            Guest::decides(
                "(loop $again
                    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 196608)) (br $again)) (unreachable)",
            )
            .component(),
        ),
        (
            "calls without a loop, doubling at each of sixty levels",
            Guest::decides("(call $level-60) (call $good (local.get $question))").and(&doubling(60)).component(),
        ),
    ]);
    insta::assert_snapshot!(told);
}

/// Functions each of which calls the one below twice.
fn doubling(levels: u32) -> String {
    let level = |number: u32| format!("(func $level-{} (call $level-{number}) (call $level-{number}))", number + 1);
    std::iter::once("(func $level-0)".to_owned()).chain((0..levels).map(level)).collect()
}

#[test]
fn work_that_no_loop_contains_ends_too() {
    let _turn = turn();
    let fills = "(memory.fill (i32.const 0) (i32.const 0) (global.get $all))".repeat(2_000);
    let says = "(call $say (i32.const 1) (i32.const 2000000) (i32.const 1000000))".repeat(4_000);
    let grows = "(drop (memory.grow (i32.const 0)))".repeat(2_000);
    let large = |body: &str| {
        let guest = Guest::behaves_until_asked_for_real(&format!("{body} (call $good (local.get $question))"));
        let guest = Guest { memory: "(memory (export \"memory\") 250)".to_owned(), ..guest };
        guest.and("(global $all (mut i32) (i32.const 16000000))").component()
    };
    let told = attack([
        ("fills of 16 MB in a row", large(&fills)),
        ("lines of 1 MB in a row", large(&says)),
        ("growing by nothing in a row", large(&grows)),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn stacks_and_traps_cost_one_answer() {
    let _turn = turn();
    let crash = |body: &str| Guest::behaves_until_asked_for_real(body);
    let told = attack([
        (
            "recursion without end",
            crash("(call $down (local.get $question))")
                .and("(func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))")
                .component(),
        ),
        (
            "recursion with enormous frames",
            crash("(call $down (local.get $question))").and(&format!(
                "(func $down (param i32) (result i32) (local {}) (i32.add (call $down (local.get 0)) (i32.const 1)))",
                "i64 ".repeat(10_000)
            ))
            .component(),
        ),
        ("reaching unreachable code", crash("(unreachable)").component()),
        ("dividing by zero", crash("(i32.div_u (i32.const 1) (i32.const 0))").component()),
        (
            "converting what is no number",
            crash("(i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0)))").component(),
        ),
        ("reading outside of its memory", crash("(i32.load (i32.const -4))").component()),
        (
            "calling through an empty table",
            crash("(call_indirect (result i32) (i32.const 3))").and("(table 4 funcref)").component(),
        ),
        (
            "calling something of another type",
            crash("(call_indirect (result i32) (i32.const 0))")
                .and("(table 1 funcref) (elem (i32.const 0) $nothing) (func $nothing)")
                .component(),
        ),
    ]);
    insta::assert_snapshot!(told);
}

fn hoarders() -> Vec<(&'static str, Vec<u8>)> {
    let memory = |text: &str| Guest { memory: text.to_owned(), ..Guest::default() }.component();
    let tables = |count: usize| "(table 1 funcref)".repeat(count);
    let instances = "(core instance (instantiate $m))".repeat(40);
    vec![
        (
            "memory page by page",
            Guest::behaves_until_asked_for_real(
                "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)",
            )
            .component(),
        ),
        (
            "memory at once",
            Guest::behaves_until_asked_for_real(
                "(drop (memory.grow (i32.const 65000))) (call $good (local.get $question))",
            )
            .component(),
        ),
        (
            "memory as much as it may have, all of it written",
            Guest::behaves_until_asked_for_real(
                "(drop (memory.grow (i32.const 252)))
                 (memory.fill (i32.const 131072) (i32.const 1) (i32.const 16646144)) (call $good (local.get $question))",
            )
            .component(),
        ),
        ("memory from the beginning", memory("(memory (export \"memory\") 4096)")),
        ("memory of 4 GiB from the beginning", memory("(memory (export \"memory\") 65536)")),
        ("several memories", memory("(memory (export \"memory\") 4) (memory 4)")),
        ("a table that grows to the end", table_that_grows()),
        ("a table that is large from the beginning", Guest::default().and("(table 9000000 funcref)").component()),
        ("thirty tables", Guest::default().and(&tables(30)).component()),
        ("two hundred tables", Guest::default().and(&tables(200)).component()),
        (
            "forty instances of one core module",
            crate::guest::component(&format!("(core module $m (memory 1)) {instances}")),
        ),
        (
            "a hundred thousand globals",
            Guest::default().and(&"(global (mut i64) (i64.const 1))".repeat(100_000)).component(),
        ),
    ]
}

fn table_that_grows() -> Vec<u8> {
    Guest::behaves_until_asked_for_real(
        "(block $end (loop $again
            (br_if $end (i32.lt_s (table.grow $t (ref.null func) (i32.const 1000)) (i32.const 0))) (br $again)))
         (if (i32.gt_u (table.size $t) (i32.const 30000)) (then (unreachable)))
         (call $good (local.get $question))",
    )
    .and("(table $t 1 funcref)")
    .component()
}

#[test]
fn who_hoards_is_stopped() {
    let _turn = turn();
    let told = attack(hoarders());
    insta::assert_snapshot!(told);
}

#[test]
fn who_hoards_is_stopped_without_a_pool_of_instances_too() {
    let _turn = turn();
    // The address space for so many instances is nowhere to be had.
    let mut options = options();
    options.limits.concurrent_calls = 1 << 22;
    let engine = Engine::new(options).unwrap();
    let told: String = hoarders()
        .iter()
        .map(|(name, bytes)| format!("{name}:\n    {}\n", attack_with(&engine, name, bytes, &json!({}), &[three()])))
        .collect();
    insta::assert_snapshot!(told);
}

#[test]
fn as_many_hoarders_as_there_is_room_for_take_what_is_said_of_them() {
    let _turn = turn();
    let engine = crate::arena::engine();
    let (_, bytes) = hoarders().remove(2);
    let binding = engine.bind(engine.load(&bytes).unwrap(), &json!({})).unwrap();
    let question = three();
    let growth = growth(|| {
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| assert!(binding.decide(&question).result.is_ok()));
            }
        });
    });
    assert!(growth < (16 * 16 + 32) << 20, "{growth} bytes");
}

#[test]
fn calls_of_the_host_are_bounded() {
    let _turn = turn();
    let says = |arguments: &str| format!("(call $say {arguments})");
    let roomy = |guest: Guest| Guest { memory: "(memory (export \"memory\") 250)".to_owned(), ..guest }.component();
    let once = |arguments: &str| {
        let body = format!("{} (call $good (local.get $question))", says(arguments));
        roomy(Guest::behaves_until_asked_for_real(&body))
    };
    let again = |arguments: &str| {
        let body = format!("(loop $again {} (br $again)) (unreachable)", says(arguments));
        roomy(Guest::behaves_until_asked_for_real(&body))
    };
    let mut escapes =
        Guest::behaves_until_asked_for_real("(call $say (i32.const 3) (i32.const 2048) (i32.const 18)) (unreachable)");
    escapes.more = r#"(data (i32.const 2048) "\1b[31mred\0a\e2\80\aeraet\c2\9b")"#.to_owned();
    let realloc_speaks = Guest {
        realloc: "(call $say (i32.const 1) (i32.const 0) (i32.const 8)) (i32.const 65536)".to_owned(),
        ..Guest::default()
    };
    let start_speaks =
        Guest::default().and("(func $begin (call $say (i32.const 1) (i32.const 0) (i32.const 8))) (start $begin)");
    let post_speaks =
        Guest { post: "(call $say (i32.const 1) (i32.const 0) (i32.const 8))".to_owned(), ..Guest::default() };
    let told = attack([
        ("lines without end", again("(i32.const 1) (i32.const 0) (i32.const 8)")),
        ("long lines without end", again("(i32.const 1) (i32.const 2000000) (i32.const 1000000)")),
        ("one giant line", once("(i32.const 1) (i32.const 200000) (i32.const 16000000)")),
        ("a line that ends outside of its memory", once("(i32.const 1) (i32.const 16383996) (i32.const 8)")),
        ("a line whose length wraps around", once("(i32.const 1) (i32.const 65536) (i32.const -1)")),
        (
            "a line that is no text",
            Guest::behaves_until_asked_for_real(
                "(i32.store (i32.const 2048) (i32.const -1)) (call $say (i32.const 1) (i32.const 2048) (i32.const 4))
             (call $good (local.get $question))",
            )
            .component(),
        ),
        ("a line of a level that does not exist", once("(i32.const 9) (i32.const 0) (i32.const 8)")),
        ("last words that paint the terminal", escapes.component()),
        ("a line while it makes room for its question", realloc_speaks.component()),
        ("a line from the start function", start_speaks.component()),
        ("a line after the answer", post_speaks.component()),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn the_room_that_a_module_makes_for_its_question_is_checked() {
    let _turn = turn();
    let realloc = |body: &str| Guest { realloc: body.to_owned(), ..Guest::default() }.component();
    let told = attack([
        ("room outside of its memory", realloc("(i32.const -8)")),
        ("room at an odd address", realloc("(i32.const 65537)")),
        ("always the same room", realloc("(i32.const 65536)")),
        ("room over its own answers", realloc("(i32.const 0)")),
        ("no room but a trap", realloc("(unreachable)")),
        (
            "room by recursion",
            realloc("(call $realloc (local.get $old) (local.get $was) (local.get $align) (local.get $size))"),
        ),
        (
            "memory that is given out and grows each time",
            realloc("(drop (memory.grow (i32.const 16))) (i32.const 65536)"),
        ),
    ]);
    insta::assert_snapshot!(told);
}

/// Modules that behave until something is true of the question.
#[test]
fn who_attacks_later_costs_a_fallback_each_time() {
    let _turn = turn();
    let question = "(local.get $question)";
    let when = |condition: &str| Guest::behaves_until(condition, "(unreachable)").component();
    let at = |epoch, seed, now_unix_ms, cluster: &str| engine_question(epoch, seed, now_unix_ms, cluster);
    let questions =
        [at(7, 1, 1_767_225_600_000, "shop"), at(8, 2, 1_800_000_000_000, "bank"), at(7, 1, 1_767_225_600_000, "shop")];
    let told: String = [
        ("by epoch", when(&format!("(i64.gt_u (i64.load offset=16 {question}) (i64.const 7))"))),
        (
            "by seed",
            when(&format!("(i32.and {} (i64.eqz (i64.rem_u (i64.load offset=40 {question}) (i64.const 2))))", real())),
        ),
        ("by the time", when(&format!("(i64.gt_u (i64.load offset=32 {question}) (i64.const 1790000000000))"))),
        // `bank`
        (
            "by the cluster's name",
            when(&format!("(i32.eq (i32.load (i32.load offset=8 {question})) (i32.const 0x6b6e6162))")),
        ),
    ]
    .iter()
    .map(|(name, bytes)| {
        let told = attack_with(&crate::arena::engine(), name, bytes, &json!({}), &questions);
        format!("{name}:\n    {}\n", told.replace("; ", "\n    "))
    })
    .collect();
    insta::assert_snapshot!(told);
}

fn engine_question(epoch: u64, seed: u64, now_unix_ms: u64, cluster: &str) -> topology::decision::Question {
    topology::decision::Question { epoch, seed, now_unix_ms, cluster: cluster.to_owned(), ..three() }
}

#[test]
fn nothing_that_a_module_does_differs_from_one_time_to_the_next() {
    let _turn = turn();
    // The sign of what is no number is the one thing that machines disagree about; memory that outlived a call would
    // be another.
    let odd = Guest::decides(
        "(if (i64.lt_s (i64.reinterpret_f64 (f64.div (f64.const -0) (f64.load (i32.const 4096)))) (i64.const 0))
            (then (return (call $hold (i32.const 24) (i32.const 10)))))
         (if (i32.load (i32.const 3000)) (then (unreachable)))
         (i32.store (i32.const 3000) (i32.const 1))
         (call $good (local.get $question))",
    );
    let engine = crate::arena::engine();
    let binding = engine.bind(engine.load(&odd.component()).unwrap(), &json!({})).unwrap();
    let first: Vec<_> = built_in_questions().iter().map(|(_, question)| binding.decide(question)).collect();
    for _ in 0..20 {
        for ((name, question), first) in built_in_questions().iter().zip(&first) {
            let again = binding.decide(question);
            assert_eq!((&again.result, again.fuel), (&first.result, first.fuel), "{name}");
        }
    }
    let names = Guest {
        describe: "(i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1))) (i32.const 64)"
            .into(),
        ..Guest::default()
    };
    let bytes = names.component();
    let said: Vec<String> = (0..3).map(|_| engine.load(&bytes).unwrap().description().name.clone()).collect();
    assert_eq!(said, ["bttacker", "bttacker", "bttacker"], "it describes itself another way each time");
    let hollow = wrapped("(memory 1)");
    assert!(engine.load(&hollow).is_err());
}
