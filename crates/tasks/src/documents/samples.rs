//! Small documents, made by the tests that read them, and the damage that is done to them.

use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A zip archive of named files.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A workbook of sheets, each a name and the XML within its `sheetData`.
pub fn xlsx(sheets: &[(&str, &str)]) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let packages = "http://schemas.openxmlformats.org/package/2006/relationships";
    let mut files = Vec::new();
    let (mut listed, mut targets) = (String::new(), String::new());
    for (index, (name, rows)) in sheets.iter().enumerate() {
        let id = index + 1;
        listed += &format!(r#"<sheet name="{name}" sheetId="{id}" r:id="rId{id}"/>"#);
        targets +=
            &format!(r#"<Relationship Id="rId{id}" Type="{relations}/worksheet" Target="worksheets/sheet{id}.xml"/>"#);
        let sheet = format!(r#"<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>"#);
        files.push((format!("xl/worksheets/sheet{id}.xml"), sheet));
    }
    let styles = format!(
        r#"<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#
    );
    let workbook = format!(r#"<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>{listed}</sheets></workbook>"#);
    targets += &format!(r#"<Relationship Id="rIdS" Type="{relations}/styles" Target="styles.xml"/>"#);
    let root = format!(
        r#"<Relationships xmlns="{packages}"><Relationship Id="rId1" Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
    );
    files.push(("_rels/.rels".into(), root));
    files.push(("xl/workbook.xml".into(), workbook));
    files.push(("xl/styles.xml".into(), styles));
    let targets = format!(r#"<Relationships xmlns="{packages}">{targets}</Relationships>"#);
    files.push(("xl/_rels/workbook.xml.rels".into(), targets));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    archive(&files)
}

/// A row of a sheet with texts in its cells, those that are empty left out.
pub fn row(number: usize, texts: &[&str]) -> String {
    let cell = |(column, text): (usize, &&str)| {
        let place = char::from(b'A' + u8::try_from(column).unwrap());
        format!(r#"<c r="{place}{number}" t="inlineStr"><is><t>{text}</t></is></c>"#)
    };
    let cells: String = texts.iter().enumerate().filter(|(_, text)| !text.is_empty()).map(cell).collect();
    format!(r#"<row r="{number}">{cells}</row>"#)
}

/// Numbers that are the same in every run.
pub struct Random(pub u64);

impl Random {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        // The generator of Vigna's splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// Bytes with a little of them changed, cut, doubled or left out.
    pub fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(damaged.len());
            match self.below(5) {
                0 => damaged.truncate(place),
                1 => damaged[place..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (place % 8)),
                2 => damaged[place..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
                3 => {
                    let end = (place + self.below(40)).min(damaged.len());
                    let piece = damaged[place..end].to_vec();
                    damaged.splice(place..place, piece);
                }
                _ => {
                    let end = (place + self.below(20)).min(damaged.len());
                    damaged.drain(place..end);
                }
            }
        }
        damaged
    }
}

/// A document of a word processor with a header, and the XML within its body.
pub fn docx(body: &str) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
    let document = format!(r#"<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>"#);
    let header = format!(r#"<w:hdr xmlns:w="{main}"><w:p><w:r><w:t>Header</w:t></w:r></w:p></w:hdr>"#);
    archive(&[("word/document.xml", document.as_bytes()), ("word/header1.xml", header.as_bytes())])
}

/// A PDF file of pages, each the operators that draw it, with Helvetica as the font F1.
pub fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: String = (0..pages.len()).map(|index| format!("{} 0 R ", 4 + index * 2)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {} >>", pages.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    for (index, content) in pages.iter().enumerate() {
        let stream = 5 + index * 2;
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {stream} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        ));
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    pdf_of_objects(&objects.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A PDF file of objects, the first of them its catalog.
pub fn pdf_of_objects(objects: &[&str]) -> Vec<u8> {
    let mut file = String::from("%PDF-1.4\n");
    let mut places = String::from("0000000000 65535 f \n");
    for (index, object) in objects.iter().enumerate() {
        places += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", index + 1);
    }
    let (table, count) = (file.len(), objects.len() + 1);
    file += &format!("xref\n0 {count}\n{places}trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n");
    file.into_bytes()
}
