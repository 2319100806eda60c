//! The numbers of KMIP that we speak: tags, types, operations, enumerations ("Key Management Interoperability Protocol
//! Specification Version 1.4", section 9.1.3 "Defined Values").

/// What an item is. The three bytes of a tag, in the lower part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u32);

impl Tag {
    pub(super) const ATTRIBUTE: Self = Self(0x42_0008);
    pub(super) const ATTRIBUTE_NAME: Self = Self(0x42_000A);
    pub(super) const ATTRIBUTE_VALUE: Self = Self(0x42_000B);
    pub(super) const BATCH_COUNT: Self = Self(0x42_000D);
    pub(super) const BATCH_ITEM: Self = Self(0x42_000F);
    pub(super) const BLOCK_CIPHER_MODE: Self = Self(0x42_0011);
    pub(super) const CRYPTOGRAPHIC_ALGORITHM: Self = Self(0x42_0028);
    pub(super) const CRYPTOGRAPHIC_PARAMETERS: Self = Self(0x42_002B);
    pub(super) const IV_COUNTER_NONCE: Self = Self(0x42_003D);
    pub(super) const KEY_BLOCK: Self = Self(0x42_0040);
    pub(super) const KEY_FORMAT_TYPE: Self = Self(0x42_0042);
    pub(super) const KEY_MATERIAL: Self = Self(0x42_0043);
    pub(super) const KEY_VALUE: Self = Self(0x42_0045);
    pub(super) const KEY_WRAPPING_DATA: Self = Self(0x42_0046);
    pub(super) const MAXIMUM_RESPONSE_SIZE: Self = Self(0x42_0050);
    pub(super) const OBJECT_TYPE: Self = Self(0x42_0057);
    pub(super) const OPERATION: Self = Self(0x42_005C);
    pub(super) const PADDING_METHOD: Self = Self(0x42_005F);
    pub(super) const PROTOCOL_VERSION: Self = Self(0x42_0069);
    pub(super) const PROTOCOL_VERSION_MAJOR: Self = Self(0x42_006A);
    pub(super) const PROTOCOL_VERSION_MINOR: Self = Self(0x42_006B);
    pub(super) const REQUEST_HEADER: Self = Self(0x42_0077);
    pub(super) const REQUEST_MESSAGE: Self = Self(0x42_0078);
    pub(super) const REQUEST_PAYLOAD: Self = Self(0x42_0079);
    pub(super) const RESPONSE_HEADER: Self = Self(0x42_007A);
    pub(super) const RESPONSE_MESSAGE: Self = Self(0x42_007B);
    pub(super) const RESPONSE_PAYLOAD: Self = Self(0x42_007C);
    pub(super) const RESULT_MESSAGE: Self = Self(0x42_007D);
    pub(super) const RESULT_REASON: Self = Self(0x42_007E);
    pub(super) const RESULT_STATUS: Self = Self(0x42_007F);
    pub(super) const SYMMETRIC_KEY: Self = Self(0x42_008F);
    pub(super) const UNIQUE_BATCH_ITEM_ID: Self = Self(0x42_0093);
    pub(super) const UNIQUE_IDENTIFIER: Self = Self(0x42_0094);
    pub(super) const DATA: Self = Self(0x42_00C2);
    pub(super) const RANDOM_IV: Self = Self(0x42_00C5);
    pub(super) const IV_LENGTH: Self = Self(0x42_00CD);
    pub(super) const TAG_LENGTH: Self = Self(0x42_00CE);
    pub(super) const AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA: Self = Self(0x42_00FE);
    pub(super) const AUTHENTICATED_ENCRYPTION_TAG: Self = Self(0x42_00FF);
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    GetAttributes,
    DiscoverVersions,
    Encrypt,
    Decrypt,
}

impl Operation {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Get => 0x0A,
            Self::GetAttributes => 0x0B,
            Self::DiscoverVersions => 0x1E,
            Self::Encrypt => 0x1F,
            Self::Decrypt => 0x20,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "Get",
            Self::GetAttributes => "GetAttributes",
            Self::DiscoverVersions => "DiscoverVersions",
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
        }
    }
}

pub(super) const ALGORITHM_AES: u32 = 0x03;
pub(super) const MODE_CBC: u32 = 0x01;
pub(super) const MODE_GCM: u32 = 0x09;
pub(super) const PADDING_PKCS5: u32 = 0x03;
pub(super) const FORMAT_RAW: u32 = 0x01;
pub(super) const OBJECT_SYMMETRIC_KEY: u32 = 0x02;
pub(super) const STATUS_SUCCESS: u32 = 0x00;
pub(super) const STATUS_FAILED: u32 = 0x01;

/// The word for a key's state.
pub(super) const fn state(number: u32) -> &'static str {
    match number {
        0x01 => "Pre-Active",
        STATE_ACTIVE => "Active",
        0x03 => "Deactivated",
        0x04 => "Compromised",
        0x05 => "Destroyed",
        0x06 => "Destroyed Compromised",
        _ => "in a state that KMIP does not know",
    }
}

pub(super) const STATE_ACTIVE: u32 = 0x02;
