use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tailrace_bridge::*;
use tailrace_consumer::*;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(std::env::var("LOG").unwrap_or("info".into()))
        .with_writer(std::io::stderr)
        .init();
    let a: Vec<String> = std::env::args().collect();
    let mode = a[1].clone();
    let args = Args {
        kafka_bootstrap_servers: Some(a[2].clone()),
        topics: Some(a[3].clone()),
        group_prefix: "trial".into(),
        instance: Some(std::env::var("INST").unwrap_or("a".into())),
        tenant_from: Some("none".into()),
        event_type_from: "none".into(),
        cache_warmup: std::env::var("WARM").unwrap_or("10m".into()),
    };
    let demo;
    let mut args = args;
    if mode == "demo" {
        demo = demo::start().await.unwrap();
        args.kafka_bootstrap_servers = Some(demo.bootstrap_servers().into());
        args.tenant_from = Some("header:tenant".into());
        args.event_type_from = "header:type".into();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let s = args.settings(std::env::vars().filter(|(k, _)| k.starts_with("TAILRACE_KAFKA_")), "x").unwrap();
    if mode == "txn" {
        use rdkafka::producer::*; use rdkafka::ClientConfig;
        let p: BaseProducer = ClientConfig::new().set("bootstrap.servers", &a[2]).set("transactional.id", "t").create().unwrap();
        p.init_transactions(Duration::from_secs(10)).unwrap();
        for n in 0..3 { p.begin_transaction().unwrap(); for i in 0..10 { p.send(BaseRecord::<str, str>::to(&a[3]).key("k").payload(&format!("{n} {i}"))).unwrap(); } p.flush(Duration::from_secs(5)).unwrap();
            if n == 2 { println!("open"); tokio::time::sleep(Duration::from_secs(5)).await; }
            if n == 1 { p.abort_transaction(Duration::from_secs(5)).unwrap() } else { p.commit_transaction(Duration::from_secs(5)).unwrap() } }
        return;
    }
    if mode == "check" {
        print!("{}", check(s).await.unwrap());
        return;
    }
    let k = Kafka::new(s.clone()).unwrap();
    let src = k.source();
    let b = Bridge::new(
        BridgeConfig { memory: 64 << 20, rules: Arc::clone(&s.rules), linger: Duration::ZERO },
        src.clone(),
    );
    if mode == "hist" {
        // args: topic partition from epoch until max
        let mut from: u64 = a[4].parse().unwrap();
        let epoch: i32 = a[5].parse().unwrap();
        let until: u64 = a[6].parse().unwrap();
        let max: usize = a[7].parse().unwrap();
        let n: usize = a[8].parse().unwrap();
        let t0 = Instant::now();
        let mut recs = 0;
        for i in 0..n {
            let t = Instant::now();
            let r = src
                .read(HistoryRead {
                    topic: a[3].as_str().into(),
                    partition: 0,
                    from,
                    epoch: if i == 0 { epoch } else { -1 },
                    until,
                    max_bytes: max,
                })
                .await;
            match r {
                Ok(seg) => {
                    recs += seg.len();
                    if i < 5 || i + 1 == n {
                        println!("read {from}: end {:?} len {} in {:?}", seg.end(), seg.len(), t.elapsed());
                    }
                    if seg.end().offset == from {
                        println!("at end");
                    }
                    from = seg.end().offset;
                }
                Err(e) => {
                    println!("{e:?} in {:?}", t.elapsed());
                }
            }
        }
        println!("{n} reads, {recs} records in {:?}", t0.elapsed());
        return;
    }
    let t0 = Instant::now();
    let run = k.start(b.clone());
    let secs: u64 = a.get(4).map(|x| x.parse().unwrap()).unwrap_or(10);
    let mut last = String::new();
    while t0.elapsed() < Duration::from_secs(secs) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let r = b.health().readiness();
        let heads: Vec<String> = b
            .topics()
            .iter()
            .map(|t| {
                format!(
                    "{}#{}: {}",
                    t.name(),
                    t.id(),
                    t.partitions()
                        .iter()
                        .map(|p| format!("{}..{}@{}", p.log_start(), p.head().offset, p.head().epoch))
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            })
            .collect();
        let now = format!(
            "{} {:?} reasons {:?} notes {:?} {:?}",
            r.ready,
            b.health().status(),
            r.reasons,
            r.notes,
            heads
        );
        if now != last {
            println!("{:.2}s {now}", t0.elapsed().as_secs_f64());
            last = now;
        }
    }
    let t = Instant::now();
    run.stop().await;
    println!("stopped in {:?}", t.elapsed());
}
