#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| strait_eventhubs_emulator::fuzzing::frames(input));
