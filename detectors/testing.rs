//! Shared by the tests of the detectors.
