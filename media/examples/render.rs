//! Measures the time and memory of rendering a picture: `cargo run --release -p soundoff-media --example render`.

use std::io::Cursor;
use std::time::Instant;

use image::{DynamicImage, ImageFormat, RgbImage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use soundoff_media::{Bounds, Kind, render};

/// How often each picture is rendered; the median counts.
const ROUNDS: usize = 7;

/// A gradient with some grain, as a photograph has.
fn photograph(width: u32, height: u32) -> RgbImage {
    let mut rng = StdRng::seed_from_u64(1);
    RgbImage::from_fn(width, height, |x, y| {
        let grain: u32 = rng.random_range(0..24);
        let shade = |part: u32| u8::try_from((part + grain).min(255)).unwrap_or(255);
        image::Rgb([shade(x * 231 / width), shade(y * 231 / height), shade((x + y) * 231 / (width + height))])
    })
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture.clone()).write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

fn peak_mb() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
    Ok(kb.parse::<u64>()? / 1024)
}

fn main() -> anyhow::Result<()> {
    println!("{:<22}{:>10}{:>12}{:>12}", "picture", "MB", "median ms", "peak MB");
    for (name, width, height, format) in [
        ("2 MP JPEG", 1600, 1200, ImageFormat::Jpeg),
        ("12 MP JPEG", 4000, 3000, ImageFormat::Jpeg),
        ("12 MP PNG", 4000, 3000, ImageFormat::Png),
        ("40 MP JPEG", 7300, 5475, ImageFormat::Jpeg),
    ] {
        let bytes = encoded(&photograph(width, height), format)?;
        let kind = Kind::sniff(&bytes).ok_or_else(|| anyhow::anyhow!("{name} is no picture"))?;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            render(&bytes, kind, &Bounds::default())?;
            times.push(begun.elapsed().as_millis());
        }
        times.sort_unstable();
        let megabytes = bytes.len() >> 20;
        println!("{name:<22}{megabytes:>10}{:>12}{:>12}", times[ROUNDS / 2], peak_mb()?);
    }
    Ok(())
}
