# Watching without anything to run: Pub/Sub's own metrics, and counts of lines in the workers' log.
# What each alert means and what to do is in docs/operations.md, under the alert's own name.

locals {
  runbook = coalesce(var.runbook_url, "docs/operations.md")

  # Where an agent passes the worker's JSON on as one text, the text is searched instead; and wrong
  # settings, which may be those of the log, are told as text.
  log_resource = var.workers == "cloud-run" ? "cloud_run_worker_pool" : "gce_instance"
  log_of_workers = (
    var.workers == "cloud-run"
    ? "resource.type=\"cloud_run_worker_pool\""
    : "resource.type=\"gce_instance\" AND logName=\"projects/${var.project}/logs/cos_containers\""
  )

  log_counts = {
    settled = {
      description = "Messages settled for good, whatever they came to"
      parsed      = "jsonPayload.message=\"handled\" AND NOT jsonPayload.outcome=\"nacked\""
      text        = "\"outcome\": ?\"(registered|deregistered|rejected|already_current|superseded|ignored)\""
    }
    registered = {
      description = "Photos registered"
      parsed      = "jsonPayload.outcome=\"registered\""
      text        = "\"outcome\": ?\"registered\""
    }
    rejected = {
      description = "Photos rejected: dead letters of the workers' own"
      parsed      = "jsonPayload.outcome=\"rejected\""
      text        = "\"outcome\": ?\"rejected\""
    }
    nacked = {
      description = "Messages given back, to be tried again"
      parsed      = "jsonPayload.outcome=\"nacked\""
      text        = "\"outcome\": ?\"nacked\""
    }
    brake_on = {
      description = "Times that a worker's brake came on"
      parsed      = "jsonPayload.message:\"brake on:\""
      text        = "\"brake on:"
    }
    worker_failed = {
      description = "Workers that ended with another exit code than 0"
      parsed      = "jsonPayload.exit_code>0"
      text        = "\"exit_code\": ?[1-9]|the worker failed in an unexpected way|the settings are wrong"
    }
  }

  of_events       = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.events.name}\""
  of_dead_letters = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters.name}\""
  of_outcomes     = "resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${var.name}-outcomes-bigquery\""
  of_log          = "resource.type=\"${local.log_resource}\" AND metric.type=\"logging.googleapis.com/user/${var.name}"

  # Each is true for as long as its number is above the threshold.
  alerts = merge(
    {
      waiting = {
        title     = "Photos wait too long"
        severity  = "ERROR"
        filter    = "${local.of_events} AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
        aligner   = "ALIGN_MAX"
        period    = "60s"
        threshold = var.longest_wait_minutes * 60
        duration  = "300s"
      }
      brake = {
        title     = "The brake is on"
        severity  = "CRITICAL"
        filter    = "${local.of_log}/brake_on\""
        aligner   = "ALIGN_DELTA"
        period    = "300s"
        threshold = 0
        duration  = "0s"
      }
      failing = {
        title     = "Workers fail"
        severity  = "ERROR"
        filter    = "${local.of_log}/worker_failed\""
        aligner   = "ALIGN_DELTA"
        period    = "600s"
        threshold = 2
        duration  = "0s"
      }
      nacked = {
        title     = "Messages are given back"
        severity  = "WARNING"
        filter    = "${local.of_log}/nacked\""
        aligner   = "ALIGN_DELTA"
        period    = "600s"
        threshold = 100
        duration  = "600s"
      }
      dead_letters = {
        title     = "Dead letters wait"
        severity  = "WARNING"
        filter    = "${local.of_dead_letters} AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\""
        aligner   = "ALIGN_MAX"
        period    = "60s"
        threshold = var.normal_dead_letters
        duration  = "300s"
      }
      undeliverable = {
        title     = "Pub/Sub gave messages up"
        severity  = "ERROR"
        filter    = "${local.of_events} AND metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\""
        aligner   = "ALIGN_DELTA"
        period    = "600s"
        threshold = 0
        duration  = "0s"
      }
      expiring = {
        title     = "Dead letters expire soon"
        severity  = "CRITICAL"
        filter    = "${local.of_dead_letters} AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
        aligner   = "ALIGN_MAX"
        period    = "60s"
        threshold = 2073600 # 24 of 31 days
        duration  = "300s"
      }
    },
    var.bigquery_outcomes ? {
      outcomes = {
        title     = "Outcomes are not written"
        severity  = "WARNING"
        filter    = "${local.of_outcomes} AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
        aligner   = "ALIGN_MAX"
        period    = "60s"
        threshold = 3600
        duration  = "300s"
      }
    } : {},
  )

  channels = concat(var.notification_channels, [for channel in google_monitoring_notification_channel.email : channel.name])
}

resource "google_logging_metric" "this" {
  for_each = local.log_counts

  name        = "${var.name}/${each.key}"
  description = each.value.description
  filter      = "${local.log_of_workers} AND ((${each.value.parsed}) OR jsonPayload.message=~${jsonencode(each.value.text)} OR textPayload=~${jsonencode(each.value.text)})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "${var.name}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = each.value.duration

      aggregations {
        alignment_period     = each.value.period
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.aligner == "ALIGN_MAX" ? "REDUCE_MAX" : "REDUCE_SUM"
      }
    }
  }

  # Machines come and go: the counts of one that is gone end without ever being 0 again, and would
  # keep the alert open for a week.
  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: ${each.value.title}"
    content   = "What it means and what to do: ${local.runbook}#${lower(replace(replace(each.value.title, "/", ""), " ", "-"))}"
  }

  depends_on = [google_logging_metric.this]
}

# Messages wait, and none is acked: every worker is stuck, or there is none. Photos that merely take
# their turn are the other alert's business.
resource "google_monitoring_alert_policy" "no_progress" {
  display_name          = "${var.name}: No progress"
  combiner              = "AND"
  severity              = "CRITICAL"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "Messages wait"
    condition_threshold {
      filter          = "${local.of_events} AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "900s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_MIN"
        cross_series_reducer = "REDUCE_MAX"
      }
    }
  }

  conditions {
    display_name = "None is acked"
    condition_threshold {
      filter                  = "${local.of_events} AND metric.type=\"pubsub.googleapis.com/subscription/ack_message_count\""
      comparison              = "COMPARISON_LT"
      threshold_value         = 1
      duration                = "900s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: No progress"
    content   = "What it means and what to do: ${local.runbook}#no-progress"
  }
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = templatefile("${path.module}/dashboard.json.tftpl", {
    name            = var.name
    events          = google_pubsub_subscription.events.name
    dead_letters    = google_pubsub_subscription.dead_letters.name
    log_resource    = local.log_resource
    log_of_workers  = jsonencode(local.log_of_workers)
    instance_group  = "${var.name}-workers"
    instance_prefix = "${var.name}-worker-"
    max_vms         = var.max_vms
  })

  depends_on = [google_logging_metric.this]
}
