use serde_json::json;

use super::super::feed::Answered;
use super::*;

fn board() -> Board {
    let floors = Floors::of(&weir_engine::Config::default()).unwrap();
    Board::new("http://127.0.0.1:1".to_owned(), 100, floors)
}

/// Lets the board take decisions in: (number, agent, action, detector, tier, episode).
fn decide(board: &mut Board, decisions: &[(u32, &str, &str, &str, &str, &str)]) -> Vec<Option<String>> {
    let told = decisions.iter().map(|(number, agent, action, detector, tier, episode)| {
        let text = json!({
            "tx_id": format!("tx_{number}"), "agent_id": agent, "user_id": "usr", "merchant": "shop.example",
            "amount": "12.5", "currency": "USD", "tx_time": format!("2026-03-05T23:{number:02}:24.837769Z"),
            "action": action, "risk_score": 51, "reasons": [{ "text": format!("Because of {detector}.") }],
            "signals": [{ "detector": detector, "tier": tier, "episode_id": episode }],
        });
        board.decided(&serde_json::from_str(&text.to_string()).unwrap())
    });
    told.collect()
}

fn profile(now: u8, ever: u8) -> Profile {
    let measures =
        |score| json!({ "risk_score": score, "risk_level": if score > 75 { "highest" } else { "normal" } });
    serde_json::from_value(json!({
        "lifetime": measures(ever), "current": measures(now), "open_episodes": ["burst:tx_1"],
        "actions_24h": { "allow": 1, "challenge": 2, "review": 3, "block": 4 }, "payments_seen": 321,
    }))
    .unwrap()
}

fn agent(name: &str) -> Agent {
    Agent { user_id: "usr".to_owned(), agent_id: name.to_owned() }
}

#[test]
fn an_episode_is_told_once_and_alerts_follow_the_floors() {
    let mut board = board();
    let told = decide(
        &mut board,
        &[
            (1, "agt", "allow", "burst", "rate_bounded", "burst:tx_1"),
            (2, "agt", "review", "burst", "machine", "burst:tx_2"),
            (3, "agt", "review", "burst", "machine", "burst:tx_2"),
            (4, "agt", "block", "scope", "strict", "scope:tx_4"),
        ],
    );
    let row = "03-05 23:02 review      51 agt                12.5 USD  Because of burst. [shop.example]";
    assert_eq!(told[1].as_deref(), Some(row));
    let shown = board.render(&Ledger::default(), Duration::ZERO, false);
    let row =
        "\n03-05 23:03 review      51     2 agt                12.5 USD  Because of burst. [shop.example]\n";
    assert!(shown.contains(row) && !shown.contains("23:02"), "{shown}");
    assert_eq!(told.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(board.counts(), "1 allowed, 0 challenged, 2 held for review, 1 blocked; alerts: 2");
}

#[test]
fn the_riskiest_agents_are_shown_and_asked_after() {
    let mut board = board();
    decide(
        &mut board,
        &[(1, "one", "block", "scope", "strict", "e1"), (2, "two", "block", "scope", "strict", "e2")],
    );
    assert_eq!(board.wanted(1), [agent("one")]);
    board.standing(agent("one"), profile(10, 90));
    assert_eq!(board.wanted(9), [agent("two"), agent("one")]);
    board.standing(agent("two"), profile(80, 80));
    for at in 0..9 {
        board.standing(agent(&format!("more_{at}")), profile(5, 5));
    }
    let agents = board.agents();
    let rows: Vec<&str> = agents.lines().collect();
    assert_eq!(rows.len(), 1 + AGENTS_SHOWN);
    assert!(
        rows[1].starts_with("two             usr               80 highest      80       321     1  2, 3, 4"),
        "{agents}"
    );
    assert!(rows[2].starts_with("one"), "{agents}");
    assert_eq!(board.wanted(9).len(), AGENTS_SHOWN);
}

#[test]
fn the_board_fits_a_small_terminal_and_is_plain_where_no_color_is_wanted() {
    let mut board = board();
    let episodes = "abcdefghijklmnopqrst";
    let decisions: Vec<_> = (0..20)
        .zip(episodes.split("").skip(1))
        .map(|(at, episode)| (at, "a_rather_long_name_of_an_agent", "block", "scope", "strict", episode))
        .collect();
    decide(&mut board, &decisions);
    for at in 0..20 {
        board.standing(agent(&format!("agent_{at}")), profile(at, at));
    }
    let mut ledger = Ledger::default();
    let answered = Answered { sent: 0, lines: Vec::new(), took: Duration::from_millis(4) };
    ledger.enter(&answered, |_| {}).unwrap();
    let plain = board.render(&ledger, Duration::from_secs(3), false);
    assert!(plain.lines().count() < 24, "{plain}");
    assert!(
        plain.starts_with("weir demo  2026-03-05 23:19, after 3 s on http://127.0.0.1:1\n0 of 100 sent"),
        "{plain}"
    );
    assert!(plain.contains("a_rather_long…") && !plain.contains('\x1b'), "{plain}");
    let colored = board.render(&ledger, Duration::from_secs(3), true);
    assert!(colored.contains("\x1b[31m03-05 23:19 block"), "{colored}");
    assert!(board.status(&ledger, Duration::from_secs(3)).starts_with("   3 s  0 of 100 sent, 0 per second"));
}
