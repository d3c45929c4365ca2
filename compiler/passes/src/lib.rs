//! Tile IR to lane IR: layouts, strip-mining, lowering.
