//! The same decision asked in five ways, by turns in one run, so that whatever else the machine does hurts all of
//! them alike: natively, in the sandbox, in the sandbox over JSON, of a webhook and of a policy server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use engine::{Engine, Limits, Options, PrimarySelection};
use serde::{Deserialize, Serialize};
use topology::decision::{Answer, Question};

use crate::figures::{Report, Times};
use crate::http::{Client, Server};
use crate::modules;
use crate::question::failover;

/// How many members the questions have: a usual cluster, the largest that votes, and far beyond.
const MEMBERS: [u32; 3] = [3, 9, 100];

/// Turns each of them has. Within one it asks many times over, as a cache would have it; the first of each turn comes
/// after the others used the machine.
const TURNS: usize = 50;

/// From here on a call is slow, and is made a tenth as often.
const SLOW: Duration = Duration::from_millis(1);

/// The rule for the policy server.
const RULE: &str = include_str!("rule.rego");

/// The one that the others are compared with.
const SANDBOX: &str = "sandboxed";

/// How long a server may take until it listens.
const RAISING: Duration = Duration::from_secs(20);

type Ask = Box<dyn FnMut(&Question) -> Result<Answer>>;

/// One way to ask.
struct Way {
    name: &'static str,
    ask: Ask,
}

/// Times every way to ask and adds rows and ratios.
///
/// # Errors
/// A way does not work, or gives another answer than the others.
pub fn measure(calls: usize, opa: Option<&Path>, report: &mut Report) -> Result<()> {
    let json_rule = engine::build::policy("json-rule")?;
    let (_webhook, webhook) = Server::webhook()?;
    let policy_server = opa.map(raise_opa).transpose()?;
    for members in MEMBERS {
        let question = failover(members).context("there is no question to ask")?;
        let mut ways = vec![
            Way { name: "native", ask: Box::new(|question: &Question| Ok(engine::decide_natively(question))) },
            Way { name: SANDBOX, ask: sandboxed()? },
            Way { name: "sandboxed, over JSON", ask: over_json(&json_rule, &question)? },
            Way { name: "a webhook on this machine", ask: over_http(webhook)? },
        ];
        if let Some((_, address)) = &policy_server {
            ways.push(Way { name: "OPA on this machine", ask: of_opa(*address)? });
        }
        let times = by_turns(&mut ways, &question, calls)?;
        let what = |name: &str| format!("one decision among {members}, {name}");
        let sandbox = ways.iter().zip(&times).find(|(way, _)| way.name == SANDBOX).map(|(_, times)| *times);
        for (way, times) in ways.iter().zip(&times) {
            report.add(what(way.name), *times);
            if let Some(sandbox) = sandbox.filter(|_| way.name != SANDBOX) {
                let p50 = times.p50_ns as f64 / sandbox.p50_ns as f64;
                let p99 = times.p99_ns as f64 / sandbox.p99_ns as f64;
                report.amount(format!("{} ÷ sandboxed", what(way.name)), format!("p50 {p50:.2}, p99 {p99:.2}"));
            }
        }
    }
    Ok(())
}

/// Asks all of them in turns. All have to give the answer of the first.
fn by_turns(ways: &mut [Way], question: &Question, calls: usize) -> Result<Vec<Times>> {
    let mut expected = None;
    let mut plans = Vec::new();
    for Way { name, ask } in ways.iter_mut() {
        let answer = ask(question).with_context(|| (*name).to_owned())?;
        let expected = expected.get_or_insert_with(|| answer.clone());
        ensure!(answer == *expected, "{name} answers otherwise: {answer:?}, expected {expected:?}");
        let started = Instant::now();
        for _ in 0..10 {
            ask(question)?;
        }
        let calls = if started.elapsed() / 10 >= SLOW { calls / 10 } else { calls };
        plans.push((calls.div_ceil(TURNS), Vec::with_capacity(calls)));
    }
    for _ in 0..TURNS {
        for (Way { ask, .. }, (calls, times)) in ways.iter_mut().zip(&mut plans) {
            for _ in 0..*calls {
                let started = Instant::now();
                std::hint::black_box(ask(question)?);
                times.push(started.elapsed());
            }
        }
    }
    plans.into_iter().map(|(_, times)| Times::of(times).context("nothing was measured")).collect()
}

/// What the operator does: the slot of a cluster, here with the embedded default, and a fresh instance for each call.
fn sandboxed() -> Result<Ask> {
    let slot = PrimarySelection::new(modules::engine()?);
    Ok(Box::new(move |question: &Question| {
        let decision = slot.decide(question);
        ensure!(decision.failures.is_empty(), "{:?}", decision.failures);
        Ok(decision.answer)
    }))
}

/// The same sandbox around a module that reads and writes JSON: with the question as its settings, and the answer as
/// the reason of a hold. Writing the question and reading the answer are part of it.
fn over_json(component: &[u8], question: &Question) -> Result<Ask> {
    // What is cut or refused elsewhere because people have to read it is data here.
    let limits = Limits { text_bytes: 1 << 20, settings_bytes: 1 << 20, ..Limits::default() };
    let engine = Engine::new(Options { limits, ..Options::compiling_in_process() })?;
    let module = engine.load(component)?;
    let binding = engine.bind(module, &serde_json::to_value(question)?)?;
    let nothing = Question { candidates: Vec::new(), ..question.clone() };
    Ok(Box::new(move |question: &Question| {
        std::hint::black_box(serde_json::to_string(question)?);
        match binding.decide(&nothing).result? {
            Answer::Hold { reason } => Ok(serde_json::from_str(&reason)?),
            other => anyhow::bail!("it answered without JSON: {other:?}"),
        }
    }))
}

fn over_http(address: SocketAddr) -> Result<Ask> {
    let mut client = Client::connect(address)?;
    Ok(Box::new(move |question: &Question| {
        let told = client.post("/decide", serde_json::to_vec(question)?)?;
        Ok(serde_json::from_slice(&told)?)
    }))
}

fn of_opa(address: SocketAddr) -> Result<Ask> {
    #[derive(Serialize)]
    struct Input<'a> {
        input: &'a Question,
    }
    #[derive(Deserialize)]
    struct Told {
        result: Answer,
    }
    let mut client = Client::connect(address)?;
    Ok(Box::new(move |question: &Question| {
        let told = client.post("/v1/data/grampus/answer", serde_json::to_vec(&Input { input: question })?)?;
        Ok(serde_json::from_slice::<Told>(&told)?.result)
    }))
}

/// Starts the policy server on a free port and waits until it listens.
fn raise_opa(program: &Path) -> Result<((Server, tempfile::TempDir), SocketAddr)> {
    let directory = tempfile::tempdir()?;
    let rule = directory.path().join("rule.rego");
    std::fs::write(&rule, RULE)?;
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
    let mut command = Command::new(program);
    command.args(["run", "--server", "--skip-version-check", "--log-level", "error", "--addr"]);
    command.arg(address.to_string()).arg(&rule).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server::start(&mut command)?;
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(started.elapsed() < RAISING, "{} does not listen", program.display());
        std::thread::yield_now();
    }
    Ok(((server, directory), address))
}
