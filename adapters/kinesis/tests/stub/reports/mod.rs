//! What went wrong in public elsewhere, by the numbers of the list of reports that the tests were made from.

mod delivering;
mod resharding;
mod sending;
mod sharing;
