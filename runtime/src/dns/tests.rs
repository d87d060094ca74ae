//! Questions and answers over real packets; the next commit asks them.
