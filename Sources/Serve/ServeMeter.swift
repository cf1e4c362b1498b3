// What the server counts of itself, and how Prometheus reads it.

internal import Base
internal import Foundation
internal import Lake
internal import Synchronization

/// Counts of requests, connections and bytes.
final class ServeMeter: Sendable {
  /// Upper ends of the classes of times, in seconds.
  private static let ends = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

  private struct Times {
    var classes = [Int](repeating: 0, count: ends.count)
    var count = 0
    var seconds = 0.0
  }

  private struct Counts {
    var answers: [String: [Int: Int]] = [:]
    var times: [String: Times] = [:]
    /// Requests that were refused before they had a route, by status.
    var refusals: [Int: Int] = [:]
    var connections = 0
    var connectionsEver = 0
    var closedForRoom = 0
    var heldByteCount = 0
  }

  private let counts = Mutex(Counts())

  /// Counts an answer.
  func count(_ route: String, _ status: Int, seconds: Double) {
    counts.withLock { counts in
      counts.answers[route, default: [:]][status, default: 0] += 1
      counts.times[route, default: Times()].count += 1
      counts.times[route, default: Times()].seconds += seconds
      if let place = Self.ends.firstIndex(where: { seconds <= $0 }) {
        counts.times[route, default: Times()].classes[place] += 1
      }
    }
  }

  /// Counts a request that was refused at the door.
  func countRefusal(_ status: Int) { counts.withLock { $0.refusals[status, default: 0] += 1 } }

  /// Notes how many connections are open, and what they hold.
  func note(connections: Int, heldByteCount: Int) {
    counts.withLock { ($0.connections, $0.heldByteCount) = (connections, heldByteCount) }
  }

  func countConnection(closedForRoom: Int) {
    counts.withLock { counts in
      counts.connectionsEver += 1
      counts.closedForRoom += closedForRoom
    }
  }

  /// Families of Prometheus' text format.
  ///
  /// - SeeAlso: https://prometheus.io/docs/instrumenting/exposition_formats/
  func write(to page: inout MetricsPage) {
    let counts = counts.withLock(\.self)
    page.family("tarn_requests_total", "counter", "Requests answered, by route and status.")
    for (route, statuses) in counts.answers.sorted(by: { $0.key < $1.key }) {
      for (status, count) in statuses.sorted(by: { $0.key < $1.key }) {
        page.sample("tarn_requests_total", [("route", route), ("status", "\(status)")], Double(count))
      }
    }
    page.family("tarn_refusals_total", "counter", "Requests refused at the door: host, origin, token, size, rate.")
    for (status, count) in counts.refusals.sorted(by: { $0.key < $1.key }) {
      page.sample("tarn_refusals_total", [("status", "\(status)")], Double(count))
    }
    page.family("tarn_request_seconds", "histogram", "Time from a whole request to its answer.")
    for (route, times) in counts.times.sorted(by: { $0.key < $1.key }) {
      var sum = 0
      for (place, end) in Self.ends.enumerated() {
        sum += times.classes[place]
        page.sample("tarn_request_seconds_bucket", [("route", route), ("le", "\(end)")], Double(sum))
      }
      page.sample("tarn_request_seconds_bucket", [("route", route), ("le", "+Inf")], Double(times.count))
      page.sample("tarn_request_seconds_sum", [("route", route)], times.seconds)
      page.sample("tarn_request_seconds_count", [("route", route)], Double(times.count))
    }
    page.one("tarn_connections", "gauge", "Connections that are open.", Double(counts.connections))
    page.one("tarn_connections_total", "counter", "Connections that were made.", Double(counts.connectionsEver))
    page.one(
      "tarn_connections_closed_for_room_total", "counter", "Connections closed because too many were open.",
      Double(counts.closedForRoom))
    page.one(
      "tarn_held_bytes", "gauge", "Bytes of bodies and answers that are held for connections.",
      Double(counts.heldByteCount))
  }
}

/// A page of metrics under way.
struct MetricsPage {
  private(set) var text = ""

  mutating func family(_ name: String, _ kind: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
  }

  mutating func sample(_ name: String, _ labels: [(name: String, value: String)], _ value: Double) {
    let inner = labels.map { label in
      let value = label.value.printableLine.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
      return "\(label.name)=\"\(value)\""
    }
    let number = value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : "\(value)"
    text += "\(name)\(inner.isEmpty ? "" : "{\(inner.joined(separator: ","))}") \(number)\n"
  }

  mutating func one(_ name: String, _ kind: String, _ help: String, _ value: Double) {
    family(name, kind, help)
    sample(name, [], value)
  }
}

extension RequestHandler {
  /// `GET /metrics`.
  func metrics() throws -> String {
    var page = MetricsPage()
    page.family("tarn_build_info", "gauge", "The version of this tarn.")
    page.sample("tarn_build_info", [("version", Tool.version)], 1)
    meter.write(to: &page)
    let (done, waiting) = batcher.statistics
    page.one("tarn_queries_total", "counter", "Queries that were searched.", Double(done.queries))
    page.one("tarn_batches_total", "counter", "Searches, each of several queries.", Double(done.batches))
    page.one("tarn_search_seconds_total", "counter", "Time spent in searches.", done.seconds)
    page.one("tarn_rows_shown_total", "counter", "Rows that queries were compared with.", Double(done.rowsShown))
    page.family("tarn_waiting", "gauge", "What waits: queries in the desk, requests in each lane.")
    // The label is older than the type's name; dashboards read it.
    page.sample("tarn_waiting", [("lane", "desk")], Double(waiting))
    for (name, lane) in lanes { page.sample("tarn_waiting", [("lane", name)], Double(lane.count)) }
    let kept = filters.statistics
    page.one("tarn_filters", "gauge", "Conditions whose rows are kept.", Double(kept.count))
    page.one("tarn_filter_bytes", "gauge", "Bytes of what is kept of them.", Double(kept.byteCount))
    page.one("tarn_filter_hits_total", "counter", "Requests whose condition was kept.", Double(kept.hits))
    page.one("tarn_filters_made_total", "counter", "Conditions that were asked of all rows.", Double(kept.made))
    page.family("tarn_served_rows", "gauge", "Rows of each version that is served.")
    for version in versions.all {
      page.sample("tarn_served_rows", [("version", "\(version.name)")], Double(version.rowCount))
    }
    try watch.write(to: &page)
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    page.one(
      "process_cpu_seconds_total", "counter", "CPU time of this process.",
      seconds(usage.ru_utime) + seconds(usage.ru_stime))
    if let memory = Disk.text(of: "/proc/self/statm"),
      let resident = memory.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    {
      page.one(
        "process_resident_memory_bytes", "gauge", "Memory of this process, mapped files included.",
        Double(resident * Int(sysconf(Int32(_SC_PAGESIZE)))))
    }
    return page.text
  }
}
