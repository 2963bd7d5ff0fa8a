import Services
import Testing

@testable import API

struct MetricsTextTests {
    private func text(_ write: (inout MetricsText) -> Void) -> String {
        var text = MetricsText()
        write(&text)
        return String(decoding: text.bytes, as: UTF8.self)
    }

    @Test func `a family has its help and type once and its samples below`() {
        let text = text { text in
            text.family("a_total", .counter, "Things.") { family in
                family.sample([:], 1)
                family.sample(["x": "1", "y": "2"], 2)
            }
            text.family("b", .gauge, "Others.") { $0.sample(["x": ""], 0.5) }
        }
        #expect(
            text == """
                # HELP a_total Things.
                # TYPE a_total counter
                a_total 1
                a_total{x="1",y="2"} 2
                # HELP b Others.
                # TYPE b gauge
                b{x=""} 0.5

                """
        )
    }

    @Test func `a family without a value is left out`() {
        let text = text { text in
            text.family("a", .gauge, "None.") { family in
                family.sample(["x": "1"], nil as Int?)
                family.sample(["x": "1"], nil as Double?)
                family.sample(["x": "1"], nil as Duration?)
            }
            text.family("b", .gauge, "None.") { _ in }
        }
        #expect(text.isEmpty)
    }

    @Test(arguments: [
        (#"a\b"#, #"a\\b"#, #"a\\b"#), ("a\nb", #"a\nb"#, #"a\nb"#), (#"a"b"#, #"a\"b"#, #"a"b"#),
        ("\r\n", "\r\\n", "\r\\n"), ("ä\t€{}=,", "ä\t€{}=,", "ä\t€{}=,"), ("", "", ""),
    ])
    func `what would end a value is escaped`(value: String, inLabel: String, inHelp: String) {
        let text = text { text in text.family("a", .gauge, value) { $0.sample(["x": value], 1) } }
        #expect(text == "# HELP a \(inHelp)\n# TYPE a gauge\na{x=\"\(inLabel)\"} 1\n")
    }

    @Test(arguments: [
        (0, "0"), (1, "1"), (-2.5, "-2.5"), (0.0005, "0.0005"), (1e-7, "1e-07"), (1_795_314_014.35, "1795314014.35"),
        (1e300, "1e+300"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
    ])
    func `a number is one that Go reads`(value: Double, text: String) {
        #expect(MetricsText.number(value) == text)
    }

    @Test func `durations are seconds`() {
        let text = text { text in
            text.family("a_seconds", .gauge, "Time.") { $0.sample([:], Duration.microseconds(1_000_001)) }
        }
        #expect(text.hasSuffix("\na_seconds 1.000001\n"))
    }

    @Test func `a histogram's buckets include the smaller ones`() {
        var histogram = DurationHistogram()
        for milliseconds in [1, 3, 60_000] { histogram.count(.milliseconds(milliseconds)) }
        let text = text { text in
            text.family("a_seconds", .histogram, "Times.") { family in
                family.histogram(["x": "1"], histogram)
                family.histogram([:], DurationHistogram())
            }
        }
        let lines = text.split(separator: "\n")
        #expect(lines[1] == "# TYPE a_seconds histogram")
        #expect(
            lines[2..<20] == [
                #"a_seconds_bucket{x="1",le="0.0005"} 0"#, #"a_seconds_bucket{x="1",le="0.001"} 1"#,
                #"a_seconds_bucket{x="1",le="0.0025"} 1"#, #"a_seconds_bucket{x="1",le="0.005"} 2"#,
                #"a_seconds_bucket{x="1",le="0.01"} 2"#, #"a_seconds_bucket{x="1",le="0.025"} 2"#,
                #"a_seconds_bucket{x="1",le="0.05"} 2"#, #"a_seconds_bucket{x="1",le="0.1"} 2"#,
                #"a_seconds_bucket{x="1",le="0.25"} 2"#, #"a_seconds_bucket{x="1",le="0.5"} 2"#,
                #"a_seconds_bucket{x="1",le="1"} 2"#, #"a_seconds_bucket{x="1",le="2.5"} 2"#,
                #"a_seconds_bucket{x="1",le="5"} 2"#, #"a_seconds_bucket{x="1",le="10"} 2"#,
                #"a_seconds_bucket{x="1",le="30"} 2"#, #"a_seconds_bucket{x="1",le="+Inf"} 3"#,
                #"a_seconds_sum{x="1"} 60.004"#, #"a_seconds_count{x="1"} 3"#,
            ]
        )
        #expect(lines[20] == #"a_seconds_bucket{le="0.0005"} 0"#)
        #expect(lines.last == "a_seconds_count 0")
    }
}
