//! A short flood: see `scenarios::flood`. Skipped, and said so, where Alertmanager is not installed;
//! where `CI` is `true`, that is a failure.

use std::process::ExitCode;

use scenarios::flood;

#[test]
fn nothing_is_lost_or_failed_in_a_flood_of_real_alertmanagers() {
    if !flood::is_installed() {
        let missing = "Alertmanager is not installed";
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{missing}");
        println!("skipped: {missing}");
        return;
    }
    let ingress = scenarios::binary("ingress").expect("the programs build");
    let binaries = ingress.parent().expect("a program stands in a directory").to_owned();
    let args =
        flood::Args { binaries, alertmanagers: vec![1, 3], groups: 200, alerts: 3, seconds: 4 };
    assert_eq!(flood::run(&args), ExitCode::SUCCESS);
}
