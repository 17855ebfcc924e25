package kvstore

// EncodeState lets tests write the log of a node that they make up.
var EncodeState = encodeState
