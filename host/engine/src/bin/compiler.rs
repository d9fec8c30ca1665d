//! The compiling child on its own, for this crate's tests. What ships is a hidden subcommand of `grampus` that
//! calls the same function.

fn main() -> std::process::ExitCode {
    engine::compile_child_main()
}
