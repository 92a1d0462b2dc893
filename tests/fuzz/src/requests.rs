//! Fuzzes the guard: what it lets pass, the HTTP library behind it must read in the same way.
//! Does not: check anything itself.
//! Used by: `fuzz/run`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rally_cred_gateway::fuzzing::requests(bytes));
