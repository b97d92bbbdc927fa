//! The integration tests: the library and the real command against servers on the loopback interface.

mod support;
