#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| strait_kinesis::fuzzing::records(input));
