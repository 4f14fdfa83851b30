#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    strait_eventhubs::fuzzing::events(input);
    strait_eventhubs::fuzzing::frames(input);
});
