//! Tests of the whole proxy over real sockets.
