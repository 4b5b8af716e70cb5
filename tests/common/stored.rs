//! The types that features may be stored in.

use half::{bf16, f16};

pub trait Stored: Copy {
    /// What lies between the samples.
    const DECOY: Self;

    /// The nearest value, up to the sign where there are none.
    fn narrow(x: f64) -> Self;

    fn widen(self) -> f64;
}

macro_rules! stored {
    ($($type:ty: $decoy:expr, $narrow:expr, $widen:expr;)*) => {$(
        impl Stored for $type {
            const DECOY: Self = $decoy;
            fn narrow(x: f64) -> Self {
                $narrow(x)
            }
            fn widen(self) -> f64 {
                $widen(self)
            }
        }
    )*};
}

// Any byte is a number: decoys are large ones.
stored! {
    u8: 250, |x: f64| x.abs().round() as u8, f64::from;
    i8: -120, |x: f64| x.round() as i8, f64::from;
    f32: f32::NAN, |x: f64| x as f32, f64::from;
    f16: f16::NAN, f16::from_f64, f16::to_f64;
    bf16: bf16::NAN, bf16::from_f64, bf16::to_f64;
}
