//! The policy inside the program: it is what the tree says, and it decides as the native rule does.

use engine::{Engine, Options, PrimarySelection, Source, built_in_questions};

use crate::common::{chosen, compiler, engine, question, three};

#[test]
fn what_is_embedded_was_built_from_this_tree() {
    let packed = include_bytes!("../../embedded/most-advanced.wasm.zst");
    let embedded = zstd::decode_all(packed.as_slice()).unwrap();
    let built = engine::build::policy("most-advanced").unwrap();
    assert!(
        embedded == built,
        "the embedded policy ({} bytes) is not what the tree builds ({} bytes); run: \
         cargo run -p engine --features build --example embed",
        embedded.len(),
        built.len()
    );
}

#[test]
fn the_embedded_default_decides_where_nothing_is_configured() {
    let slot = PrimarySelection::new(engine());
    let in_force = slot.in_force();
    assert_eq!((in_force.source, in_force.description.name.as_str()), (Source::Default, "most-advanced"));
    let decision = slot.decide(&three());
    assert_eq!(chosen(&decision.answer), Some("shop-2"));
    assert_eq!(decision.by.source, Source::Default);
    assert_eq!(decision.by.digest, engine().embedded().unwrap().digest());
    assert!(decision.failures.is_empty());
}

#[test]
fn sandboxed_and_native_answers_are_equal() {
    let slot = PrimarySelection::new(engine());
    for (name, question) in built_in_questions() {
        assert_eq!(slot.decide(&question).answer, engine::decide_natively(&question), "{name}");
    }
}

#[test]
fn fuel_is_the_same_on_every_run_and_in_every_engine() {
    let other = Engine::new(Options::compiling_in_process()).unwrap();
    let question = question("seven members, all healthy");
    let (here, there) = (PrimarySelection::new(engine()), PrimarySelection::new(other));
    let fuel = here.decide(&question).fuel;
    assert!((1_000..1_000_000).contains(&fuel), "{fuel} units");
    for _ in 0..20 {
        assert_eq!(here.decide(&question).fuel, fuel);
        assert_eq!(there.decide(&question).fuel, fuel);
    }
}

#[test]
fn without_a_compiler_decisions_are_made_natively_and_say_so() {
    let mut missing = compiler();
    missing.program = "/no/such/program".into();
    let engine = Engine::new(Options::new(missing)).unwrap();
    assert_eq!(engine.embedded().unwrap_err().reason(), "CompilerFailed");
    let slot = PrimarySelection::new(engine);
    assert_eq!(slot.in_force().source, Source::Native);
    let decision = slot.decide(&three());
    assert_eq!(chosen(&decision.answer), Some("shop-2"));
    assert_eq!(decision.by.source, Source::Native);
    assert_eq!(decision.failures.len(), 1);
    assert_eq!(decision.failures[0].by.source, Source::Default);
}
