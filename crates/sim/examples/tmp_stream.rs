#![allow(clippy::all, clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason="temp")]
use std::io::BufWriter; use std::fs::File;
fn main(){
 let a: Vec<String> = std::env::args().collect();
 let o = weir_sim::Options{ transactions: a[1].parse().unwrap(), seed: a[2].parse().unwrap(), difficulty: match a[3].as_str(){"easy"=>weir_sim::Difficulty::Easy,"hard"=>weir_sim::Difficulty::Hard,_=>weir_sim::Difficulty::Medium}, ..Default::default()};
 let t=std::time::Instant::now();
 let dir=&a[4]; std::fs::create_dir_all(dir).unwrap();
 let f=|n:&str| BufWriter::with_capacity(1<<20, File::create(format!("{dir}/{n}")).unwrap());
 let s=weir_sim::generate(&o,&mut f("transactions.ndjson"),&mut f("mandates.ndjson"),&mut f("labels.ndjson")).unwrap();
 println!("{s:#?} {:?} rec/min {:.0}", t.elapsed(), s.transactions as f64/t.elapsed().as_secs_f64()*60.0);
 println!("span days {}", (s.end_us-o.start_us) as f64/86400e6);
}
