//! The miss-ratio curve: what more memory would bring, and where it stops bringing much.

use serde::Serialize;

/// One size of memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Bytes.
    pub memory: u64,
    /// The share of requests answered from it, from 0 to 1.
    pub hit_ratio: f64,
    /// The share of bytes.
    pub byte_hit_ratio: f64,
}

/// The index of the knee of `points`, by growing memory: where the curve is furthest above the line
/// from its first point to its last, memory on a scale of powers (Satopää et al., 2011). `None`
/// where it does not bend.
#[must_use]
pub fn knee(points: &[Point]) -> Option<usize> {
    let (first, last) = (points.first()?, points.last()?);
    let scale = |memory: u64| (memory.max(1) as f64).log2();
    let width = scale(last.memory) - scale(first.memory);
    let height = last.hit_ratio - first.hit_ratio;
    if width <= 0.0 || height <= 0.0 {
        return None;
    }
    let above = |point: &Point| {
        let x = (scale(point.memory) - scale(first.memory)) / width;
        (point.hit_ratio - first.hit_ratio) / height - x
    };
    let heights = points.iter().map(above).enumerate();
    let (index, most) = heights.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    (most > 0.05).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(ratios: &[f64]) -> Vec<Point> {
        let point = |(power, hit_ratio): (usize, &f64)| Point {
            memory: 1 << power,
            hit_ratio: *hit_ratio,
            byte_hit_ratio: 0.0,
        };
        ratios.iter().enumerate().map(point).collect()
    }

    #[test]
    fn the_knee_is_where_the_curve_bends() {
        assert_eq!(knee(&curve(&[0.1, 0.4, 0.7, 0.72, 0.73])), Some(2));
        assert_eq!(knee(&curve(&[0.1, 0.2, 0.3])), None, "a straight line has none");
        assert_eq!(knee(&curve(&[0.5, 0.5])), None);
        assert_eq!(knee(&[]), None);
    }
}
