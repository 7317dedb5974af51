//! Reads COCO's masks, as pycocotools does (cocoapi `common/maskApi.c`): the crate itself only writes them.

/// The row-major mask of `counts`, compressed as text, of a picture of `size` (height, width). Panics where they do not fit.
pub fn mask(size: [usize; 2], counts: &str) -> Vec<bool> {
    let [height, width] = size;
    let mut mask = vec![false; width * height];
    let (mut position, mut run) = (0, 0);
    let mut lengths: Vec<i64> = Vec::new();
    let mut bytes = counts.bytes().map(|byte| i64::from(byte) - 48).peekable();
    while bytes.peek().is_some() {
        let (mut length, mut shift) = (0, 0);
        loop {
            let group = bytes.next().expect("a whole number");
            length |= (group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 == 0 {
                if group & 0x10 != 0 {
                    length |= -1 << shift;
                }
                break;
            }
        }
        if lengths.len() > 2 {
            length += lengths[lengths.len() - 2];
        }
        lengths.push(length);
        let end = position + usize::try_from(length).expect("a length");
        for at in (position..end).filter(|_| run % 2 == 1) {
            mask[at % height * width + at / height] = true;
        }
        (position, run) = (end, run + 1);
    }
    assert_eq!(position, width * height, "the runs do not fill the picture");
    mask
}
