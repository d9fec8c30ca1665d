//! A small policy in WebAssembly text, of which each attack replaces a part.
//!
//! It is a good policy as it stands: it names the first member that may lead. Offsets are those of the canonical ABI
//! for the records of `grampus:primary-selection@0.1.0`.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const LOG: &str = include_str!("../../../../wit/released/log@0.1.0.wit");
const POLICY: &str = include_str!("../../../../wit/released/primary-selection@0.1.0.wit");

/// What a policy consists of. Bodies may use `$promote`, `$hold`, `$good`, `$say` and the global `$heap`.
#[derive(Clone)]
pub struct Guest {
    /// The contract it is built against.
    pub policy: String,
    /// The log it is built against.
    pub log: String,
    /// The version of the contract, as in the names of its exports.
    pub version: &'static str,
    /// The version of the log.
    pub log_version: &'static str,
    /// Pages of memory, and further definitions.
    pub memory: String,
    /// Functions, globals, tables and data besides.
    pub more: String,
    /// Gives the address of a description.
    pub describe: String,
    /// Gives the address of a result; has `$json` and `$length`.
    pub validate: String,
    /// Gives the address of an answer; has `$question`.
    pub decide: String,
    /// Gives the address of fresh memory; has `$old`, `$was`, `$align` and `$size`.
    pub realloc: String,
    /// Ends a call of `decide`; has `$answer`.
    pub post: String,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            policy: POLICY.to_owned(),
            log: LOG.to_owned(),
            version: "0.1.0",
            log_version: "0.1.0",
            memory: "(memory (export \"memory\") 4)".to_owned(),
            more: String::new(),
            describe: "(i32.const 64)".to_owned(),
            validate: "(i32.const 128)".to_owned(),
            decide: "(call $good (local.get $question))".to_owned(),
            realloc: ALLOCATE.to_owned(),
            post: String::new(),
        }
    }
}

const ALLOCATE: &str = "
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))";

impl Guest {
    /// With another `decide`.
    pub fn decides(body: &str) -> Self {
        Self { decide: body.to_owned(), ..Self::default() }
    }

    /// With another `decide`, but only for clusters that exist: a rehearsal's namespace begins with a parenthesis.
    pub fn behaves_until_asked_for_real(body: &str) -> Self {
        Self::behaves_until(&real(), body)
    }

    /// With another `decide` once something is true of the question.
    pub fn behaves_until(condition: &str, body: &str) -> Self {
        Self::decides(&format!("(if (result i32) {condition} (then {body}) (else (call $good (local.get $question))))"))
    }

    /// With something besides.
    pub fn and(self, more: &str) -> Self {
        Self { more: format!("{}\n{more}", self.more), ..self }
    }

    /// The text of its core module.
    pub fn text(&self) -> String {
        let Self { version, log_version, memory, more, describe, validate, decide, realloc, post, .. } = self;
        let interface = format!("grampus:primary-selection/policy@{version}");
        format!(
            r#"(module
            (import "grampus:log/log@{log_version}" "write" (func $say (param i32 i32 i32)))
            {memory}
            (global $heap (mut i32) (i32.const 65536))
            (data (i32.const 0) "attacker\00\00\00\00\00\00\00\001.0.0\00\00\00it attacks\00because")
            ;; The description at 64: name, version, summary, no schema.
            (data (i32.const 64) "\00\00\00\00\08\00\00\00\10\00\00\00\05\00\00\00\18\00\00\00\0a\00\00\00\00")
            ;; The result at 128: settings are fine.
            (data (i32.const 128) "\00")
            {more}
            (func $hold (param $reason i32) (param $length i32) (result i32)
                (i32.store8 (i32.const 1024) (i32.const 1))
                (i32.store (i32.const 1028) (local.get $reason))
                (i32.store (i32.const 1032) (local.get $length))
                (i32.const 1024))
            (func $promote (param $name i32) (param $length i32) (result i32)
                (i32.store8 (i32.const 1024) (i32.const 0))
                (i32.store (i32.const 1028) (local.get $name))
                (i32.store (i32.const 1032) (local.get $length))
                (i32.store (i32.const 1036) (i32.const 35))
                (i32.store (i32.const 1040) (i32.const 7))
                (i32.store (i32.const 1044) (i32.const 0))
                (i32.store (i32.const 1048) (i32.const 0))
                (i32.const 1024))
            (func $good (param $question i32) (result i32) (local $left i32) (local $member i32)
                (local.set $member (i32.load offset=72 (local.get $question)))
                (local.set $left (i32.load offset=76 (local.get $question)))
                (block $nobody (loop $next
                    (br_if $nobody (i32.eqz (local.get $left)))
                    (if (i32.eqz (i32.load offset=40 (local.get $member))) (then
                        (return (call $promote
                            (i32.load (local.get $member)) (i32.load offset=4 (local.get $member))))))
                    (local.set $member (i32.add (local.get $member) (i32.const 88)))
                    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                    (br $next)))
                (call $hold (i32.const 35) (i32.const 7)))
            (func (export "{interface}#describe") (result i32) {describe})
            (func (export "{interface}#validate-settings") (param $json i32) (param $length i32) (result i32)
                {validate})
            (func (export "{interface}#decide") (param $question i32) (result i32) {decide})
            (func (export "cabi_post_{interface}#decide") (param $answer i32) {post})
            (func $realloc (export "cabi_realloc")
                (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32) {realloc})
        )"#
        )
    }

    /// The component.
    pub fn component(&self) -> Vec<u8> {
        let mut core = wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}"));
        let mut resolve = Resolve::default();
        resolve.push_str("log.wit", &self.log).unwrap();
        let package = resolve.push_str("policy.wit", &self.policy).unwrap();
        let world = resolve.select_world(&[package], Some("primary-selection")).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false).unwrap();
        ComponentEncoder::default().validate(false).module(&core).unwrap().encode().unwrap()
    }
}

/// Whether a question is asked for real.
pub fn real() -> String {
    "(i32.ne (i32.load8_u (i32.load (local.get $question))) (i32.const 40))".to_owned()
}

/// A component of our contract's name around a core module that somebody else shaped.
pub fn wrapped(core: &str) -> Vec<u8> {
    component(&format!("(core module $m {core}) (core instance (instantiate $m))"))
}

/// A component of our contract's name with something else in it.
pub fn component(text: &str) -> Vec<u8> {
    let text =
        format!(r#"(component {text} (instance $i) (export "grampus:primary-selection/policy@0.1.0" (instance $i)))"#);
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
