//! One colour per class, the same in the page, in the overlay and in the palette of the label PNG.

use crate::text::prompts::MAX_CLASSES;

/// The colour of "other" where a colour is needed; in label PNGs it is transparent besides.
pub const OTHER: [u8; 3] = [128, 128, 128];

/// The colour of a label, RGB: of the class with this index in typed order (0 to 253), else [`OTHER`].
///
/// The first seven are those of Okabe and Ito ("Color Universal Design", 2008) without black. Each further one is, of a
/// grid of colours that are neither gray nor very dark nor nearly white, the one farthest from all before it, where the
/// distance is taken in Oklab as seen with normal sight, with protanopia and with deuteranopia, and the smallest of the
/// three counts (`tests::the_table_is_the_greedy_choice` makes the table).
pub fn colour(label: u8) -> [u8; 3] {
    TABLE.get(usize::from(label)).map_or(OTHER, |&rgb| {
        let [_, red, green, blue] = rgb.to_be_bytes();
        [red, green, blue]
    })
}

/// Colours of the first `classes` (at most 256) labels, RGB after RGB.
pub fn palette(classes: usize) -> Vec<u8> {
    (0..=u8::MAX).take(classes).flat_map(colour).collect()
}

/// The colour as CSS and JSON write it, e.g. `#e69f00`.
pub fn hex(label: u8) -> String {
    let [red, green, blue] = colour(label);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[rustfmt::skip]
const TABLE: [u32; MAX_CLASSES] = [
    0xe69f00, 0x56b4e9, 0x009e73, 0xf0e442, 0x0072b2, 0xd55e00, 0xcc79a7, 0x880044, 0x0000ff, 0x77ffff, 0x5511aa, 0x8877ff,
    0x00dd99, 0x885544, 0xbb2288, 0xbbccff, 0xdd00cc, 0x88ff99, 0xff4477, 0xcc0000, 0xffbbcc, 0x5555ff, 0x663366, 0x882200,
    0x99bb66, 0x226677, 0xff77cc, 0x770088, 0x99dd66, 0x6644aa, 0x778844, 0x7700cc, 0x7799ff, 0xffbb00, 0x0088dd, 0xcc8822,
    0x66bb99, 0x556600, 0xcc1155, 0xaa6699, 0x6666dd, 0xaa44aa, 0x99ffcc, 0x00aabb, 0x88dddd, 0x448877, 0x556699, 0xeebb99,
    0x00aa44, 0x773388, 0x883344, 0x99bbff, 0xaa2266, 0xff9977, 0xddaacc, 0xdd55dd, 0x66dd33, 0x66ff66, 0xccdd88, 0x66ddbb,
    0x88eeaa, 0xaaeedd, 0xdd8855, 0xff55bb, 0x44aa88, 0x7733dd, 0x88bb22, 0xff88ee, 0xff7788, 0x668800, 0x886633, 0x990099,
    0x66eeff, 0x4499aa, 0xaa4466, 0xbb5566, 0xff66ff, 0x772255, 0x444477, 0x665522, 0x5533ff, 0x7766ff, 0xcc6666, 0xee5544,
    0x008899, 0x7777cc, 0x3366cc, 0x44ff22, 0xbb11bb, 0x881177, 0xdd99aa, 0xaa99cc, 0x8888cc, 0x225599, 0x3322dd, 0xdd2288,
    0x88ee66, 0x8877aa, 0x2233bb, 0xccbbee, 0xcc99dd, 0xaa77ee, 0x5533aa, 0x6655bb, 0x773333, 0xee9955, 0x007788, 0x0099dd,
    0xaa7733, 0xbb0022, 0xaa88ee, 0x994477, 0x00bb55, 0x884444, 0x77aaff, 0x661199, 0xbb88bb, 0xaa55bb, 0xddee77, 0x226655,
    0x1155ee, 0xaacc88, 0xffaaaa, 0xbb0099, 0xdd3366, 0x4477ee, 0xdd7788, 0xee7777, 0xaabb88, 0x337755, 0xee0099, 0x55ccbb,
    0xaa5588, 0xff3311, 0x7788bb, 0xbb4433, 0x884466, 0x773355, 0xcc8899, 0xcc44ee, 0x4433ee, 0x6655dd, 0x22ffbb, 0xaa2233,
    0x88ccdd, 0x881122, 0xaa22cc, 0xcccc44, 0xee8899, 0xdd4455, 0x9999dd, 0xffbbee, 0xcc7766, 0x99cc55, 0x00ffee, 0x00aa77,
    0x00cc44, 0x00eecc, 0x993355, 0x3366aa, 0x993377, 0x2200ee, 0x7766cc, 0xddbb77, 0x77ccaa, 0xaaee99, 0x00eeee, 0x55aacc,
    0x555588, 0x66ee88, 0x992200, 0x44ddff, 0x447733, 0xdd88ee, 0x44bbdd, 0xbbdd44, 0xaaddaa, 0x3377aa, 0xbb8855, 0x990033,
    0x88bbee, 0x2288ff, 0x882244, 0xcc6688, 0x3300cc, 0x3388aa, 0x772288, 0x77cc66, 0xee7733, 0x55bb88, 0xbbff88, 0x8877dd,
    0xaaffaa, 0xee11bb, 0xcc9966, 0xff1133, 0xbbff55, 0x11aa99, 0xcceebb, 0x225522, 0x880066, 0x66bbbb, 0x44ddaa, 0x1155aa,
    0x44bbaa, 0xaa4400, 0x00ee77, 0x00bb33, 0x77ddcc, 0x77ccff, 0xddcc77, 0xee0022, 0x228866, 0xcc3355, 0x8822cc, 0xbb77cc,
    0xee55ee, 0xee8877, 0xcc6633, 0xee8800, 0x33bb77, 0x77ddee, 0x996644, 0xff1177, 0x668833, 0x0000dd, 0xbbbb33, 0x8888dd,
    0xccee55, 0x44eedd, 0xee5599, 0x0044bb, 0x115577, 0x44eebb, 0x990011, 0x992299, 0xee9999, 0x994400, 0xccee88, 0x88ffdd,
    0x77dd55, 0xdddd55, 0x0099ff, 0x7755ee, 0xee99bb, 0xaa4477, 0x99eecc, 0x008855, 0x44bbff, 0x884433, 0x2277bb, 0xbbdd99,
    0xeedd00, 0x557744,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// How much a difference counts that only people with normal sight see.
    const DEFICIENT_WEIGHT: f32 = 1.5;
    /// Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
    /// severity 1, on linear RGB.
    const SIGHTS: [[[f32; 3]; 3]; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ];

    type Seen = [[f32; 3]; 3];

    fn times(matrix: &[[f32; 3]; 3], v: [f32; 3]) -> [f32; 3] {
        matrix.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
    }

    /// Björn Ottosson's Oklab (2020) of linear RGB.
    fn oklab(linear: [f32; 3]) -> [f32; 3] {
        let lms = times(
            &[
                [0.412_221_46, 0.536_332_55, 0.051_445_995],
                [0.211_903_5, 0.680_699_5, 0.107_396_96],
                [0.088_302_46, 0.281_718_85, 0.629_978_7],
            ],
            linear.map(|v| v.clamp(0.0, 1.0)),
        );
        times(
            &[
                [0.210_454_26, 0.793_617_8, -0.004_072_047],
                [1.977_998_5, -2.428_592_2, 0.450_593_7],
                [0.025_904_037, 0.782_771_77, -0.808_675_77],
            ],
            lms.map(f32::cbrt),
        )
    }

    fn seen(rgb: [u8; 3]) -> Seen {
        let linear = rgb.map(|v| {
            let v = f32::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        });
        SIGHTS.map(|sight| oklab(times(&sight, linear)))
    }

    fn distance(a: &Seen, b: &Seen) -> f32 {
        let each = [0, 1, 2].map(|sight| {
            let squares = (0..3).map(|axis| (a[sight][axis] - b[sight][axis]).powi(2));
            squares.sum::<f32>().sqrt() * if sight == 0 { 1.0 } else { DEFICIENT_WEIGHT }
        });
        each.into_iter().fold(f32::INFINITY, f32::min)
    }

    fn greedy() -> Vec<[u8; 3]> {
        let mut chosen: Vec<[u8; 3]> =
            [0xe69f00, 0x56b4e9, 0x009e73, 0xf0e442, 0x0072b2, 0xd55e00, 0xcc79a7].map(unpacked).to_vec();
        let levels = || (0..=255).step_by(17).map(|v| v as u8);
        let grid = levels().flat_map(|r| levels().flat_map(move |g| levels().map(move |b| [r, g, b])));
        let mut candidates: Vec<([u8; 3], Seen, f32)> = grid
            .map(|rgb| (rgb, seen(rgb)))
            .filter(|(_, [[light, a, b], ..])| (0.4..0.93).contains(light) && a.hypot(*b) > 0.07)
            .map(|(rgb, seen)| (rgb, seen, f32::INFINITY))
            .collect();
        let mut at = 0;
        while chosen.len() < MAX_CLASSES {
            while let Some(&colour) = chosen.get(at) {
                let colour = seen(colour);
                for (_, seen, nearest) in &mut candidates {
                    *nearest = nearest.min(distance(seen, &colour));
                }
                at += 1;
            }
            let best = candidates.iter().max_by(|a, b| a.2.total_cmp(&b.2)).unwrap();
            chosen.push(best.0);
        }
        chosen
    }

    fn unpacked(rgb: u32) -> [u8; 3] {
        let [_, r, g, b] = rgb.to_be_bytes();
        [r, g, b]
    }

    #[test]
    fn the_table_is_the_greedy_choice() {
        let chosen = greedy();
        let table: Vec<[u8; 3]> = (0..254).map(colour).collect();
        let lines: Vec<String> = chosen
            .chunks(12)
            .map(|line| line.iter().map(|[r, g, b]| format!("0x{r:02x}{g:02x}{b:02x}, ")).collect())
            .collect();
        assert!(table == chosen, "the table should be:\n{}", lines.join("\n"));
    }

    #[test]
    fn colours_differ() {
        let colours: Vec<Seen> = (0..254).map(|class| seen(colour(class))).collect();
        let nearest = |of: usize| {
            (0..of)
                .flat_map(|a| (0..a).map(move |b| (a, b)))
                .map(|(a, b)| distance(&colours[a], &colours[b]))
                .fold(f32::INFINITY, f32::min)
        };
        // 0.02 is about what can be told apart side by side.
        for (of, least) in [(16, 0.11), (32, 0.08), (64, 0.05), (MAX_CLASSES, 0.02)] {
            assert!(nearest(of) > least, "{of} colours: {}", nearest(of));
        }
    }

    #[test]
    fn ends_of_the_table() {
        assert_eq!(hex(0), "#e69f00");
        assert_eq!(colour(254), OTHER);
        assert_eq!(palette(2), [230, 159, 0, 86, 180, 233]);
    }
}
