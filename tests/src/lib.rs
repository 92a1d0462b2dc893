//! What the tests and the demo are made of: a stand-in for Rally, a browser that presses its buttons, and a user's world.
//! Does not: hold the product's own code, or be linked by it.
//! Used by: the programs in `bin/` and the test binary `suite`.

pub mod browser;
pub mod callers;
pub mod command_line;
pub mod connect_proxy;
pub mod desktop;
pub mod generated;
pub mod git_server;
pub mod keyring;
pub mod logind;
pub mod machine;
pub mod man;
pub mod openbao;
pub mod picture;
pub mod sandbox;
pub mod simulation;
pub mod sshd;
pub mod toolkits;
pub mod tpm;
pub mod user_manager;
pub mod webdriver;
pub mod wine;
pub mod world;
