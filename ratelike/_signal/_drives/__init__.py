"""External inputs, one file each: what knows its increments on any grid."""
