# A Cloud Run worker pool instead of VMs: no machine to look after, CPU always allocated, a fixed
# number of instances. An instance gets 10 seconds after SIGTERM, so renders that take longer are
# given back; /tmp is memory of the instance either way, here with a limit of its own.

locals {
  cloud_run               = var.image != "" && var.workers == "cloud-run"
  cloud_run_drain_seconds = 7
}

resource "google_cloud_run_v2_worker_pool" "workers" {
  count = local.cloud_run ? 1 : 0

  name                = "${var.name}-workers"
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds nothing

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.cloud_run_instances
  }

  template {
    service_account = google_service_account.worker.email

    containers {
      image = var.image

      resources {
        limits = {
          cpu    = tostring(var.cloud_run_cpus)
          memory = "${var.cloud_run_memory_mib}Mi"
        }
      }

      dynamic "env" {
        for_each = merge(local.environment, {
          WORKER_DRAIN_SECONDS     = tostring(local.cloud_run_drain_seconds)
          WORKER_PREEMPTION_NOTICE = "off"
          # What the instance has, said outright: nobody promises that a cgroup tells it here.
          WORKER_VCPUS        = tostring(var.cloud_run_cpus)
          WORKER_MEMORY_BYTES = "${var.cloud_run_memory_mib}MiB"
        })
        content {
          name  = env.key
          value = env.value
        }
      }

      volume_mounts {
        name       = "scratch"
        mount_path = "/tmp"
      }
    }

    volumes {
      name = "scratch"
      empty_dir {
        medium     = "MEMORY"
        size_limit = "${min(var.scratch_mib, floor(var.cloud_run_memory_mib / 2))}Mi"
      }
    }
  }

  depends_on = [
    google_project_service.chosen,
    google_artifact_registry_repository_iam_member.worker,
    google_pubsub_subscription_iam_member.worker,
    google_pubsub_topic_iam_member.worker_dead_letters,
    google_pubsub_topic_iam_member.worker_outcomes,
    google_storage_bucket_iam_member.worker_originals,
    google_storage_bucket_iam_member.worker_renditions,
  ]
}
