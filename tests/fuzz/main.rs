//! The fuzzer: gives what libFuzzer makes to the target that the variable `TARGET` names.
//! Does not: check anything itself.
//! Used by: `tests/fuzz/run`.

#![no_main]

use std::{env, sync::OnceLock};

use properties::Property;

mod properties;

static PROPERTY: OnceLock<Property> = OnceLock::new();

/// What only the fuzzer tries; the gateway's tests have inputs of their own.
const GATEWAY: [(&str, Property); 2] =
    [("requests", rally_cred_gateway::fuzzing::requests), ("bodies", rally_cred_gateway::fuzzing::bodies)];

libfuzzer_sys::fuzz_target!(
    init: {
        let name = env::var("TARGET").expect("TARGET names what is fuzzed");
        let found = properties::ALL.iter().chain(&GATEWAY).find(|(known, _)| *known == name);
        PROPERTY.set(found.expect("TARGET names no target").1).expect("it is set once");
    },
    |bytes: &[u8]| PROPERTY.get().expect("it was set")(bytes)
);
