use super::*;

mod cuda;

fn of(symbol: &str) -> &'static EntryPoint {
    entry_point(symbol).expect("in the table").1
}

#[test]
fn look_ups_find_every_row() {
    for (i, entry) in ENTRY_POINTS.iter().enumerate() {
        assert_eq!(entry_point(entry.symbol), Some((i as u16, entry)));
        assert_eq!(super::entry(i as u16), Some(entry));
    }
    assert_eq!(entry_point("hipNoSuchThing"), None);
    assert_eq!(super::entry(u16::MAX), None);
    assert_eq!(symbol_node("hipMallocAsync"), Some("hip_5.1"));
}

#[test]
fn the_tables_agree_on_nodes_and_rows() {
    for entry in ENTRY_POINTS {
        assert_eq!(symbol_node(entry.symbol), entry.node, "{}", entry.symbol);
        assert!(
            entry.node.is_some()
                || entry.action.is_none()
                || entry.platform.names().nodes.is_empty(),
            "{}: what is exported has a node where there are any",
            entry.symbol
        );
        if let Some(row) = entry.row {
            let rows = entry.platform.dispatch_rows();
            assert!(entry.symbol.contains(rows[usize::from(row)]));
        }
    }
    for (symbol, _) in SYMBOL_NODES {
        let known = entry_point(symbol).map(|(_, entry)| entry.platform);
        let by_name = names::function(symbol.as_bytes());
        assert!(known.is_none() || known == by_name, "{symbol}");
    }
}

/// Whatever the columns say fits together: a reader of one may rely on the others.
#[test]
fn every_row_is_well_formed() {
    use EntryClass::{Callback, Event, Launch, Memcpy, Memset, Stream, Sync};
    for entry in ENTRY_POINTS {
        let symbol = entry.symbol;
        let puts_work = matches!(entry.class, Launch | Memcpy | Memset);
        // No wait, query, allocation or host function is ever gated, and
        // everything that enqueues kernels or sets memory is.
        assert!(!entry.is_gated() || puts_work, "{symbol} is gated");
        if entry.is_launch() || entry.class == Memset {
            assert!(entry.is_gated(), "{symbol} is not gated");
        }
        // What has to do with streams and events passes through the shim.
        if puts_work || matches!(entry.class, Callback | Sync | Event | Stream) {
            assert!(entry.action.is_some(), "{symbol} is not exported");
        }
        if entry.size_at != SizeAt::Nowhere {
            assert!(entry.is_gated() && entry.class == Memcpy, "{symbol}'s size");
        }
        let called = matches!(entry.action, Some(Action::Drain | Action::Hook));
        // A call hands on registers only.
        assert!(
            !called || !matches!(entry.stream_at, ArgumentAt::Stack(_)),
            "{symbol} is called with arguments on the stack"
        );
        let learns = entry.effect != Effect::Nothing;
        assert_eq!(learns, entry.action == Some(Action::Hook), "{symbol}");
        if entry.action == Some(Action::Drain) {
            let told = matches!(
                entry.completion,
                Completion::Query(_) | Completion::Return(_, Direction::Any | Direction::At(_))
            );
            assert!(told, "{symbol}: nobody says what is complete");
        }
        if entry.polled {
            assert!(matches!(entry.completion, Completion::Query(_)), "{symbol}");
        }
        if entry.stream_at != ArgumentAt::Nowhere && entry.action.is_some() {
            assert_ne!(entry.default_stream, DefaultStream::None, "{symbol}");
        }
        if puts_work {
            assert_ne!(entry.default_stream, DefaultStream::None, "{symbol}");
        }
    }
}

#[test]
fn what_drains_is_what_the_host_waits_for() {
    for symbol in [
        "hipDeviceSynchronize",
        "hipStreamSynchronize_spt",
        "hipEventSynchronize",
        "hipMemcpy",
        "hipMemcpyDtoH",
        "hipMemcpyWithStream",
    ] {
        assert!(of(symbol).drains(), "{symbol}");
    }
    for symbol in [
        "hipLaunchKernel",
        "hipStreamQuery",
        "hipMemcpyAsync",
        "hipMemcpyDtoD",
        "hipMemsetD8",
        "hipStreamWaitEvent",
        "hipWaitExternalSemaphoresAsync",
    ] {
        assert!(!of(symbol).drains(), "{symbol}");
    }
}

#[test]
fn streams_are_where_the_prototypes_put_them() {
    let at = |symbol| of(symbol).stream_at;
    // Two dim3 by value take four registers, so the rest moves to the stack.
    assert_eq!(at("hipLaunchKernel"), ArgumentAt::Stack(16));
    let pushed = at("__hipPushCallConfiguration");
    assert_eq!(pushed, ArgumentAt::Register(Register::R9));
    // Six integers in registers; blockZ, shared size and stream follow.
    assert_eq!(at("hipModuleLaunchKernel"), ArgumentAt::Stack(24));
    // Structures over 16 bytes by value (hipPitchedPtr, hipExtent) use no register.
    let set = at("hipMemset3DAsync");
    assert_eq!(set, ArgumentAt::Register(Register::Rsi));
    let waits = at("hipStreamSynchronize");
    assert_eq!(waits, ArgumentAt::Register(Register::Rdi));
    let configured = at("hipLaunchKernelExC");
    assert_eq!(configured, ArgumentAt::Field(Register::Rdi, 32));
}

#[test]
fn the_functions_that_names_tell_of_are_what_they_are_said_to_be() {
    for platform in Platform::ALL {
        let names = platform.names();
        assert!(of(names.launch).is_launch() && of(names.launch).is_gated());
        assert!(of(names.copy).class == EntryClass::Memcpy && of(names.copy).is_gated());
        assert!(of(names.wait).drains());
    }
}

#[test]
fn actions_are_as_they_have_always_been() {
    let action = |symbol| of(symbol).action;
    assert_eq!(action("hipLaunchKernel"), Some(Action::Gate));
    assert_eq!(action("hipGraphLaunch"), Some(Action::Gate));
    assert_eq!(action("hipMemcpy"), Some(Action::Drain));
    assert_eq!(action("hipSetDevice"), Some(Action::Hook));
    assert_eq!(action("hipFree"), Some(Action::Forward));
    assert_eq!(action("hipMalloc"), None);
    let gated = ENTRY_POINTS.iter().filter(|entry| entry.is_gated());
    let of_hip = gated.filter(|entry| entry.platform == Platform::Hip);
    assert_eq!(of_hip.count(), 69);
    let prefetches = |entry: &&EntryPoint| entry.symbol.contains("Prefetch");
    assert!(
        ENTRY_POINTS
            .iter()
            .filter(prefetches)
            .all(|entry| !entry.is_gated())
    );
}

#[test]
fn streams_of_execution_contexts_never_wait_for_the_default_stream() {
    let kind = |symbol| of(symbol).effect;
    let independent = Effect::StreamCreate(StreamKind::Independent);
    assert_eq!(kind("hipExecutionCtxStreamCreate"), independent);
    let flags = Effect::StreamCreate(StreamKind::Flags(Register::Rsi));
    assert_eq!(kind("hipStreamCreateWithFlags"), flags);
}
