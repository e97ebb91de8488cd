//! A stored plan: any text is read or refused, and what is read is written and read again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_plan::placement::Plan;

fuzz_target!(|input: &[u8]| {
    if let Ok(plan) = serde_json::from_slice::<Plan>(input) {
        let text = serde_json::to_vec(&plan).expect("a plan can be written");
        let again: Plan = serde_json::from_slice(&text).expect("what was written is read");
        assert_eq!(again, plan);
        for (unit, assignment) in plan.iter() {
            assert!(!assignment.standbys.contains(&assignment.owner), "{unit} has its owner as a standby");
        }
    }
});
