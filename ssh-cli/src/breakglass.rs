//! The break-glass ceremony: keys, shares, pages and documents. Nothing here talks to an authority.
