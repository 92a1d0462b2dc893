//! Fuzzes the rewriter of addresses in bodies.
//! Does not: check anything itself.
//! Used by: `fuzz/run`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rally_cred_gateway::fuzzing::bodies(bytes));
