//! What the tests and the demo are made of: a stand-in for Rally, and a browser that presses its buttons.
//! Does not: hold the product's own code, or be linked by it.
//! Met by: the programs in `bin/` and the test binary `suite`.

pub mod browser;
pub mod sandbox;
