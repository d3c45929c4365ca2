//! Dtype table with codecs, and the layout algebra. Pure mathematics.
