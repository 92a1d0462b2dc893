//! The release's recipe in docs/release.md: its commands, as they stand there, sign files and find what was changed.
//! Does not: build a release (`tests/package` does).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::world::{Ended, World};

use crate::tidy::document;

/// The commands of the recipe, block by block: those that make the key, sign, and check.
fn blocks() -> [String; 3] {
    let recipe = document("docs/release.md");
    let blocks = recipe.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

fn run(world: &World, commands: &str) -> Ended {
    world.run("sh", &["-ec", &format!("cd release\n{commands}")], "")
}

#[test]
fn the_recipe_signs_a_release_and_finds_a_changed_file_a_changed_sum_and_another_key() {
    let [make_key, sign, check] = blocks();
    // Nobody types a passphrase here.
    let make_key = make_key.replace("-t ed25519", "-t ed25519 -N ''");
    let world = World::new();
    for folder in ["release", ".ssh"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    let package = world.path("release/rally-cred_1.0.0-1_amd64.deb");
    fs::write(&package, "a package").unwrap();
    run(&world, &make_key).succeeded();
    run(&world, &sign).succeeded();
    run(&world, &check)
        .succeeded()
        .showed("Good \"rally-cred-release\" signature")
        .showed("rally-cred_1.0.0-1_amd64.deb: OK");

    fs::write(&package, "another package").unwrap();
    assert_ne!(run(&world, &check).code, Some(0));
    run(&world, "sha256sum rally-cred* >SHA256SUMS").succeeded();
    assert_ne!(run(&world, &check).code, Some(0), "the sums are not those that were signed");

    run(&world, "rm SHA256SUMS.sig; mv ~/.ssh ~/other; mkdir ~/.ssh; cp release.pub kept").succeeded();
    run(&world, &format!("{make_key}{sign}mv kept release.pub")).succeeded();
    assert_ne!(run(&world, &check).code, Some(0), "another key has signed them");
}
