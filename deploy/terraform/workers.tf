# Spot VMs that follow the backlog.
#
# When a machine is taken away, 30 seconds are left (measured from the notice). Each span below must
# fit into the next:
#
#   20 s  WORKER_DRAIN_SECONDS: running renders are finished, the rest is given back
#   25 s  docker stop: what the worker needs besides (children, last acks, flush), else SIGKILL
#   28 s  TimeoutStopSec of the unit: docker itself
#   30 s  the power is cut
#
# The worker begins at second 0 twice over: the metadata server's notice reaches it directly, and
# ACPI has systemd stop the unit.

locals {
  vms = var.image != "" && var.workers == "vms"

  drain_seconds        = 20
  docker_stop_seconds  = 25
  unit_stop_seconds    = 28
  spot_notice_seconds  = 30
  boot_seconds         = 90  # until the first message is pulled; the autoscaler waits for so long
  health_delay_seconds = 300 # a slow boot and a slow pull of the image are no illness

  # What every worker is told, whatever it runs on.
  environment = merge(
    {
      GOOGLE_CLOUD_PROJECT     = var.project
      WORKER_SUBSCRIPTION      = google_pubsub_subscription.events.id
      WORKER_DEAD_LETTER_TOPIC = google_pubsub_topic.dead_letters.id
      WORKER_OUTCOME_TOPIC     = google_pubsub_topic.outcomes.id
      WORKER_ORIGINALS_BUCKETS = join(",", sort(local.originals_buckets))
      WORKER_RENDITIONS_BUCKET = google_storage_bucket.renditions.name
      WORKER_OUTPUT_PREFIX     = var.output_prefix
      WORKER_LOG_FORMAT        = "json"
      WORKER_HTTP_PORT         = tostring(local.http_port)
    },
    var.settings,
  )

  user_data = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    image               = var.image
    registry            = split("/", "${var.image}/")[0]
    http_port           = local.http_port
    memory_mib          = var.container_memory_mib
    scratch_mib         = var.scratch_mib
    docker_stop_seconds = local.docker_stop_seconds
    unit_stop_seconds   = local.unit_stop_seconds
    environment = merge(local.environment, {
      WORKER_DRAIN_SECONDS     = tostring(local.drain_seconds)
      WORKER_PREEMPTION_NOTICE = var.spot ? "on" : "auto"
    })
  })
}

resource "google_compute_instance_template" "worker" {
  count = local.vms ? 1 : 0

  name_prefix  = "${var.name}-worker-"
  machine_type = var.machine_type
  labels       = local.labels

  metadata = {
    user-data                 = local.user_data
    google-logging-enabled    = "true"
    google-monitoring-enabled = "true" # the machine's memory, which the hypervisor does not see
    block-project-ssh-keys    = "true"
    enable-oslogin            = "TRUE"
    # A machine is replaced, never updated: the next one boots the family's newest image.
    cos-update-strategy = "update_disabled"
  }

  #checkov:skip=CKV_GCP_37:Google's own keys encrypt the disk, which holds the system and the image, no photo
  disk {
    source_image = var.boot_image
    disk_type    = "pd-balanced"
    disk_size_gb = 12
    auto_delete  = true
    boot         = true
  }

  network_interface {
    subnetwork = local.subnetwork
  }

  scheduling {
    provisioning_model          = var.spot ? "SPOT" : "STANDARD"
    preemptible                 = var.spot
    automatic_restart           = !var.spot
    on_host_maintenance         = var.spot ? "TERMINATE" : "MIGRATE"
    instance_termination_action = var.spot ? "DELETE" : null
  }

  service_account {
    email  = google_service_account.worker.email
    scopes = ["cloud-platform"] # what it may do is decided by its roles
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  lifecycle {
    create_before_destroy = true

    precondition {
      condition = (
        local.drain_seconds + 3 <= local.docker_stop_seconds
        && local.docker_stop_seconds < local.unit_stop_seconds
        && local.unit_stop_seconds < local.spot_notice_seconds
      )
      error_message = "The time-outs of a drain no longer fit into one another."
    }
  }
}

resource "google_compute_health_check" "worker" {
  count = local.vms ? 1 : 0

  name                = "${var.name}-worker"
  description         = "Alive, not ready: a drain, the brake and a stuck network are no reason for a new machine"
  check_interval_sec  = 15
  timeout_sec         = 5
  healthy_threshold   = 1
  unhealthy_threshold = 4

  http_health_check {
    port         = local.http_port
    request_path = "/healthz"
  }

  depends_on = [google_project_service.this]
}

resource "google_compute_region_instance_group_manager" "workers" {
  count = local.vms ? 1 : 0

  name               = "${var.name}-workers"
  region             = var.region
  base_instance_name = "${var.name}-worker"

  version {
    instance_template = google_compute_instance_template.worker[0].self_link
  }

  # Where there are machines, evenly if possible. ANY would suit even better, but a group of that
  # shape cannot be autoscaled; BALANCED cannot redistribute by itself, which would kill workers.
  distribution_policy_zones        = length(var.zones) > 0 ? var.zones : null
  distribution_policy_target_shape = "BALANCED"

  # A new image: new machines first, then the old ones drain.
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    replacement_method           = "SUBSTITUTE"
    instance_redistribution_type = "NONE"
    max_surge_fixed              = max(4, length(var.zones)) # no fewer than zones
    max_unavailable_fixed        = 0
  }

  auto_healing_policies {
    health_check      = google_compute_health_check.worker[0].id
    initial_delay_sec = local.health_delay_seconds
  }

  # Its roles first: a worker without them ends at once.
  depends_on = [
    google_artifact_registry_repository_iam_member.worker,
    google_pubsub_subscription_iam_member.worker,
    google_pubsub_topic_iam_member.worker_dead_letters,
    google_pubsub_topic_iam_member.worker_outcomes,
    google_storage_bucket_iam_member.worker_originals,
    google_storage_bucket_iam_member.worker_renditions,
  ]
}

# By the group's backlog, not by what its machines do: only so can it begin at none. What is in
# flight counts as undelivered too, so a group never shrinks to zero while something runs.
resource "google_compute_region_autoscaler" "workers" {
  count = local.vms ? 1 : 0

  name   = "${var.name}-workers"
  region = var.region
  target = google_compute_region_instance_group_manager.workers[0].id

  autoscaling_policy {
    mode            = "ON"
    min_replicas    = var.min_vms
    max_replicas    = var.max_vms
    cooldown_period = local.boot_seconds

    metric {
      name                       = "pubsub.googleapis.com/subscription/num_undelivered_messages"
      filter                     = "resource.type = pubsub_subscription AND resource.labels.subscription_id = \"${google_pubsub_subscription.events.name}\""
      single_instance_assignment = var.backlog_per_vm
    }

    # A gap between two bursts should not cost the machines that the second one needs.
    scale_in_control {
      time_window_sec = 600
      max_scaled_in_replicas {
        fixed = max(1, ceil(var.max_vms / 2))
      }
    }

    dynamic "scaling_schedules" {
      for_each = var.warm_hours
      content {
        name                  = scaling_schedules.key
        schedule              = scaling_schedules.value.schedule
        time_zone             = scaling_schedules.value.time_zone
        duration_sec          = scaling_schedules.value.duration_seconds
        min_required_replicas = scaling_schedules.value.vms
      }
    }
  }
}
