//! The live miss-ratio curve: what memory of another size would do, as the admin API tells it.

use serde_json::Value;

use crate::support::*;

/// `GET /stats`.
async fn stats(proxy: &Proxy) -> Value {
    let response = proxy.ask_admin(&get("/stats")).await;
    serde_json::from_slice(&response.body).expect("JSON")
}

#[tokio::test]
async fn what_more_and_less_memory_would_answer_is_in_stats_and_metrics() {
    let origin = Origin::answering(ok(vec![b'x'; 200_000]).fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 32 * 1024 * 1024).await;
    assert!(stats(&proxy).await["curve"].is_null(), "nothing has been asked for");
    let mut client = proxy.client().await;
    // Forty of 200 kB are more than a quarter of the memory holds, and less than half of it.
    for _ in 0..5 {
        for number in 0..40 {
            client.exchange(&get(&format!("/{number}"))).await;
        }
    }
    // The last is stored a moment after it was answered.
    let curve = || async { stats(&proxy).await["curve"].clone() };
    let mut told = curve().await;
    let ratio = |told: &Value, size: usize| told["points"][size]["hit_ratio"].as_f64();
    for _ in 0..100 {
        if ratio(&told, 2) == Some(0.8) {
            break;
        }
        tokio::task::yield_now().await;
        told = curve().await;
    }
    assert_eq!(told["sampled_keys"], 1.0, "{told}");
    for size in 1..5 {
        assert_eq!(ratio(&told, size), Some(0.8), "{told}");
    }
    let quarter = ratio(&told, 0).expect("a number");
    assert!((0.1..0.79).contains(&quarter), "{told}");
    assert_eq!(told["points"][2]["memory_bytes"], 32 * 1024 * 1024, "{told}");
    let metrics = proxy.ask_admin(&get("/metrics")).await;
    for line in [
        "seawall_curve_requests_total 200",
        "seawall_curve_misses_total{memory=\"1\"} 40",
        "seawall_curve_misses_total{memory=\"4\"} 40",
        "seawall_curve_sampled_ratio 1.0",
    ] {
        let text = metrics.text();
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    proxy.settled().await;
}

#[tokio::test]
async fn where_there_is_little_memory_none_is_spent_on_it() {
    let origin = Origin::answering(ok("x").fresh(600)).await;
    let proxy = Proxy::with(&origin, |s| s.store.memory = 4 * 1024 * 1024).await;
    proxy.get("/").await;
    proxy.get("/").await;
    assert!(stats(&proxy).await["curve"].is_null());
    let metrics = proxy.ask_admin(&get("/metrics")).await;
    assert!(!metrics.text().contains("seawall_curve"));
}
